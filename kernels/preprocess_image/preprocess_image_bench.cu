// preprocess_image reads and writes memory and does little else: copy bandwidth is its limit.
#include "kernels/bench.cuh"
#include "kernels/preprocess_image/preprocess_image.h"

namespace plumbline::bench {
namespace {

/// Pixels that look like noise: the worst case for bank conflicts in the table.
void fill_noise(void* device, std::int64_t bytes) {
  std::vector<std::uint8_t> host(static_cast<std::size_t>(bytes));
  std::uint32_t state = 1;
  for (std::uint8_t& v : host) {
    state = state * 1664525U + 1013904223U;
    v = static_cast<std::uint8_t>(state >> 24);
  }
  check(cudaMemcpy(device, host.data(), host.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
}

void images(const Device& device, std::int64_t batch, std::int64_t size, PixelType type) {
  const std::int64_t values = batch * size * size * 3;
  const std::int64_t width = type == PixelType::float32 ? 4 : 2;
  const DeviceMemory in = allocate(values);
  const DeviceMemory out = allocate(values * width);
  fill_noise(in.get(), values);
  PreprocessImageParams p;
  p.pixels_BHWC = static_cast<const std::uint8_t*>(in.get());
  p.out_BCHW = out.get();
  p.type = type;
  p.batch = batch;
  p.height = p.width = size;
  p.mean = {0.48145466f, 0.4578275f, 0.40821073f};
  p.std = {0.26862954f, 0.26130258f, 0.27577711f};
  const float ms = median_ms(device, true, [&] { cuda::preprocess_image(p, nullptr); });
  const double gb_s = static_cast<double>(values * (1 + width)) / ms * 1e-6;
  std::printf(
      "{\"kernel\": \"preprocess_image\", \"batch\": %lld, \"height\": %lld, \"width\": %lld, "
      "\"type\": \"%s\", \"ms\": %.4f, \"gb_per_s\": %.1f, \"copy_gb_per_s\": %.1f, "
      "\"of_copy\": %.3f}\n",
      static_cast<long long>(batch), static_cast<long long>(size), static_cast<long long>(size),
      type == PixelType::float32 ? "float32" : "bfloat16", ms, gb_s, device.copy_gb_s,
      gb_s / device.copy_gb_s);
}

}  // namespace

void preprocess_image(const Device& device) {
  for (const PixelType type : {PixelType::bfloat16, PixelType::float32}) {
    for (const std::int64_t batch : {64, 256, 1024, 4096}) images(device, batch, 224, type);
    for (const std::int64_t size : {255, 256, 336, 378, 384}) images(device, 512, size, type);
  }
}

}  // namespace plumbline::bench
