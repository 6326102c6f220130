// The two passes over a tile of 32 MB as clip_loss makes it: fresh from a matrix product it lies in
// L2, so the caches are not flushed; the copy bandwidth of memory is no limit then, but a measure.
#include "kernels/bench.cuh"
#include "kernels/contrastive/contrastive.h"

namespace plumbline::bench {
namespace {

void print(const char* kernel, std::int64_t rows, std::int64_t columns, float ms, double bytes,
           const Device& device) {
  const double gb_s = bytes / ms * 1e-6;
  std::printf(
      "{\"kernel\": \"%s\", \"rows\": %lld, \"columns\": %lld, \"ms\": %.4f, \"gb_per_s\": %.1f, "
      "\"copy_gb_per_s\": %.1f, \"of_copy\": %.3f}\n",
      kernel, static_cast<long long>(rows), static_cast<long long>(columns), ms, gb_s,
      device.copy_gb_s, gb_s / device.copy_gb_s);
}

void tile(const Device& device, std::int64_t rows, std::int64_t columns) {
  const DeviceMemory x = noise(rows * columns, -0.3f, 0.3f), u = noise(rows, 1e-5f, 1e-4f),
                     v = noise(columns, 1e-5f, 1e-4f), scale = noise(1, 14.3f, 14.3f),
                     row = noise(rows, 0, 1), column = noise(columns, 0, 1),
                     positive = noise(rows, 0, 1), g = allocate(2 * rows * columns),
                     sums = noise(6, 0, 0),
                     workspace = allocate(contrastive_workspace_bytes(rows, columns));
  const auto floats = [](const DeviceMemory& m) { return static_cast<float*>(m.get()); };
  const ContrastiveTile t = {floats(x), rows, columns, columns, 0, floats(scale)};
  const double values = static_cast<double>(rows * columns);
  const float statistics_ms = median_ms(device, false, [&] {
    cuda::contrastive_statistics(
        {t, floats(row), floats(column), floats(positive), workspace.get()}, nullptr);
  });
  print("contrastive_statistics", rows, columns, statistics_ms, 4 * values, device);
  const float gradient_ms = median_ms(device, false, [&] {
    cuda::contrastive_gradient({t, floats(u), floats(v), floats(u), g.get(), FloatType::bfloat16,
                                columns, static_cast<double*>(sums.get()), workspace.get()},
                               nullptr);
  });
  print("contrastive_gradient", rows, columns, gradient_ms, 6 * values, device);
}

}  // namespace

void contrastive(const Device& device) {
  tile(device, 1024, 8192);
  tile(device, 4096, 2048);
  tile(device, 8192, 1024);
}

}  // namespace plumbline::bench
