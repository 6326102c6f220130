// AdamW over as many weights as a ViT-B-32 has, against 28 bytes an element (30 with the copy in
// bfloat16).
#include "kernels/adamw/adamw.h"
#include "kernels/bench.cuh"

namespace plumbline::bench {

void adamw(const Device& device) {
  constexpr std::int64_t kWeights = 151'277'313 / 4 * 4;
  const DeviceMemory p = noise(kWeights, -1, 1), g = noise(kWeights, -1e-3f, 1e-3f),
                     m = noise(kWeights, -1e-3f, 1e-3f), v = noise(kWeights, 0, 1e-6f),
                     factor = noise(1, 1, 1), copy = allocate(2 * kWeights);
  for (const bool rounds : {false, true}) {
    const AdamWParams params = {
        .p_N = static_cast<float*>(p.get()),
        .grad_N = static_cast<const float*>(g.get()),
        .m_N = static_cast<float*>(m.get()),
        .v_N = static_cast<float*>(v.get()),
        .bfloat16_N = rounds ? static_cast<std::uint16_t*>(copy.get()) : nullptr,
        .n = kWeights,
        .factor = static_cast<const float*>(factor.get()),
        .scalars = {0.9999f, 0.1f, 0.98f, 0.02f, 5e-4f, 0.5f, 1e-6f}};
    const float ms = median_ms(device, true, [&] { cuda::adamw(params, nullptr); });
    const double gb_s = static_cast<double>(kWeights) * (rounds ? 30 : 28) / ms * 1e-6;
    std::printf(
        "{\"kernel\": \"adamw\", \"weights\": %lld, \"bfloat16_copy\": %s, \"ms\": %.4f, "
        "\"gb_s\": %.1f, \"of_copy\": %.3f}\n",
        static_cast<long long>(kWeights), rounds ? "true" : "false", static_cast<double>(ms), gb_s,
        gb_s / device.copy_gb_s);
  }
}

}  // namespace plumbline::bench
