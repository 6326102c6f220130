// Speed of every kernel against the copy bandwidth of the same device, measured in the same run.
#include "kernels/bench.cuh"

using namespace plumbline::bench;

int main() {
  int devices = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&devices);
      error != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "kernels_bench: nothing measured, no GPU (%s)\n",
                 error != cudaSuccess ? cudaGetErrorString(error) : "no device");
    return 0;
  }
  Device device;
  {
    const std::int64_t bytes = std::int64_t{1} << 30;
    const DeviceMemory from = allocate(bytes), to = allocate(bytes);
    const float ms = median_ms(device, true, [&] {
      check(cudaMemcpyAsync(to.get(), from.get(), static_cast<std::size_t>(bytes),
                            cudaMemcpyDeviceToDevice, nullptr),
            "copy");
    });
    device.copy_gb_s = 2.0 * static_cast<double>(bytes) / ms * 1e-6;
  }
  preprocess_image(device);
  contrastive(device);
  adamw(device);
  return 0;
}
