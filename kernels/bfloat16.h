// bfloat16 as the kernels' CPU references round it. No CUDA header: the bits are plain integers.
#pragma once

#include <bit>
#include <cstdint>

namespace plumbline {

/// What a kernel reads or writes; sums and statistics are float32 whatever it is.
enum class FloatType { float32, bfloat16 };

[[nodiscard]] constexpr std::int64_t size_of(FloatType type) {
  return type == FloatType::float32 ? 4 : 2;
}

/// float32 to bfloat16 bits, round half to even; a NaN stays a (quiet) NaN.
[[nodiscard]] constexpr std::uint16_t bfloat16_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

[[nodiscard]] constexpr float bfloat16_value(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace plumbline
