// What the benchmarks of the kernels share: device memory, noise, and the median of warm runs with
// the L2 flushed before each. kernels_bench.cu runs them all; each prints one JSON object a shape.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace plumbline::bench {

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "error: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

struct FreeDevice {
  void operator()(void* p) const noexcept { (void)cudaFree(p); }
};
using DeviceMemory = std::unique_ptr<void, FreeDevice>;

inline DeviceMemory allocate(std::int64_t bytes) {
  void* p = nullptr;
  check(cudaMalloc(&p, static_cast<std::size_t>(bytes)), "cudaMalloc");
  return DeviceMemory(p);
}

/// Uniform values of [low, high) on the device.
inline DeviceMemory noise(std::int64_t size, float low, float high) {
  std::vector<float> host(static_cast<std::size_t>(size));
  std::uint32_t state = 1;
  for (float& v : host) {
    state = state * 1664525U + 1013904223U;
    v = low + (high - low) * static_cast<float>(state >> 8) * 0x1p-24f;
  }
  DeviceMemory device = allocate(4 * size);
  check(cudaMemcpy(device.get(), host.data(), host.size() * 4, cudaMemcpyHostToDevice), "copy");
  return device;
}

/// What every benchmark is given.
struct Device {
  static constexpr std::size_t kFlushBytes = std::size_t{256} << 20;  // five times an H100's L2
  DeviceMemory flush = allocate(static_cast<std::int64_t>(kFlushBytes));
  double copy_gb_s = 0;  ///< of a device-to-device copy of 1 GiB, read and written bytes counted
};

/// Median milliseconds of `work`. Without `flush` the caches keep what they hold: for passes that
/// are meant to find their input in L2.
template <typename Work>
float median_ms(const Device& device, bool flush, const Work& work) {
  constexpr int kRuns = 50, kWarmup = 5;
  cudaEvent_t start = nullptr, stop = nullptr;
  check(cudaEventCreate(&start), "cudaEventCreate");
  check(cudaEventCreate(&stop), "cudaEventCreate");
  std::vector<float> times;
  for (int i = 0; i < kWarmup + kRuns; ++i) {
    if (flush) {
      check(cudaMemsetAsync(device.flush.get(), i, Device::kFlushBytes, nullptr), "flush");
    }
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

void preprocess_image(const Device& device);
void contrastive(const Device& device);
void adamw(const Device& device);

}  // namespace plumbline::bench
