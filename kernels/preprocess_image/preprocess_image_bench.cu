// Speed of preprocess_image against the copy bandwidth of the same device, measured in the same
// run. One JSON object a shape on stdout: median of 50 warm runs, L2 flushed before each.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/preprocess_image/preprocess_image.h"

namespace {

using plumbline::PixelType;

constexpr int kRuns = 50;
constexpr int kWarmup = 5;
constexpr std::size_t kFlushBytes = std::size_t{256} << 20;  // five times the L2 of an H100

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "error: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

struct FreeDevice {
  void operator()(void* p) const noexcept { (void)cudaFree(p); }
};
using DeviceMemory = std::unique_ptr<void, FreeDevice>;

DeviceMemory allocate(std::size_t bytes) {
  void* p = nullptr;
  check(cudaMalloc(&p, bytes), "cudaMalloc");
  return DeviceMemory(p);
}

/// Median milliseconds of `work`, with `flush` overwritten before each run.
template <typename Work>
float median_ms(void* flush, const Work& work) {
  cudaEvent_t start = nullptr;
  cudaEvent_t stop = nullptr;
  check(cudaEventCreate(&start), "cudaEventCreate");
  check(cudaEventCreate(&stop), "cudaEventCreate");
  std::vector<float> times;
  for (int i = 0; i < kWarmup + kRuns; ++i) {
    check(cudaMemsetAsync(flush, i, kFlushBytes, nullptr), "cudaMemsetAsync");
    check(cudaEventRecord(start, nullptr), "cudaEventRecord");
    work();
    check(cudaEventRecord(stop, nullptr), "cudaEventRecord");
    check(cudaEventSynchronize(stop), "run");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, start, stop), "cudaEventElapsedTime");
    if (i >= kWarmup) times.push_back(ms);
  }
  check(cudaEventDestroy(start), "cudaEventDestroy");
  check(cudaEventDestroy(stop), "cudaEventDestroy");
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return times[kRuns / 2];
}

/// GB/s of a device-to-device copy of 1 GiB, read and written bytes counted.
double copy_bandwidth(void* flush) {
  const std::size_t bytes = std::size_t{1} << 30;
  const DeviceMemory from = allocate(bytes);
  const DeviceMemory to = allocate(bytes);
  const float ms = median_ms(flush, [&] {
    check(cudaMemcpyAsync(to.get(), from.get(), bytes, cudaMemcpyDeviceToDevice, nullptr), "copy");
  });
  return 2.0 * static_cast<double>(bytes) / ms * 1e-6;
}

/// Pixels that look like noise: the worst case for bank conflicts in the table.
void fill_noise(void* device, std::size_t bytes) {
  std::vector<std::uint8_t> host(bytes);
  std::uint32_t state = 1;
  for (std::uint8_t& v : host) {
    state = state * 1664525U + 1013904223U;
    v = static_cast<std::uint8_t>(state >> 24);
  }
  check(cudaMemcpy(device, host.data(), bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
}

void bench(std::int64_t batch, std::int64_t size, PixelType type, void* flush, double copy_gb_s) {
  const std::int64_t values = batch * size * size * 3;
  const std::int64_t width = type == PixelType::float32 ? 4 : 2;
  const DeviceMemory in = allocate(static_cast<std::size_t>(values));
  const DeviceMemory out = allocate(static_cast<std::size_t>(values * width));
  fill_noise(in.get(), static_cast<std::size_t>(values));
  plumbline::PreprocessImageParams p;
  p.pixels_BHWC = static_cast<const std::uint8_t*>(in.get());
  p.out_BCHW = out.get();
  p.type = type;
  p.batch = batch;
  p.height = p.width = size;
  p.mean = {0.48145466f, 0.4578275f, 0.40821073f};
  p.std = {0.26862954f, 0.26130258f, 0.27577711f};
  const float ms = median_ms(flush, [&] { plumbline::cuda::preprocess_image(p, nullptr); });
  const double gb_s = static_cast<double>(values * (1 + width)) / ms * 1e-6;
  std::printf(
      "{\"kernel\": \"preprocess_image\", \"batch\": %lld, \"height\": %lld, \"width\": %lld, "
      "\"type\": \"%s\", \"ms\": %.4f, \"gb_per_s\": %.1f, \"copy_gb_per_s\": %.1f, "
      "\"of_copy\": %.3f}\n",
      static_cast<long long>(batch), static_cast<long long>(size), static_cast<long long>(size),
      type == PixelType::float32 ? "float32" : "bfloat16", ms, gb_s, copy_gb_s, gb_s / copy_gb_s);
}

}  // namespace

int main() {
  int devices = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&devices);
      error != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "preprocess_image_bench: nothing measured, no GPU (%s)\n",
                 error != cudaSuccess ? cudaGetErrorString(error) : "no device");
    return 0;
  }
  const DeviceMemory flush = allocate(kFlushBytes);
  const double copy_gb_s = copy_bandwidth(flush.get());
  for (const PixelType type : {PixelType::bfloat16, PixelType::float32}) {
    for (const std::int64_t batch : {64, 256, 1024, 4096})
      bench(batch, 224, type, flush.get(), copy_gb_s);
    for (const std::int64_t size : {255, 256, 336, 378, 384})
      bench(512, size, type, flush.get(), copy_gb_s);
  }
  return 0;
}
