// Counter-based random bits: Philox4x32-10 (Salmon et al. 2011). Every random choice of a run is a
// pure function of (seed, purpose, position), so nothing needs saving and no order matters.
#pragma once

#include <array>
#include <cstdint>

namespace plumbline {

/// What a draw is for; part of the key, so that purposes never share bits.
enum class Purpose : std::uint32_t {
  source = 1,
  epoch = 2,
  vshard = 3,
  mix = 4,
  replace = 5,
  substitute = 6,
  permutation = 7,
  crop = 8,
  caption = 9,
  colour = 10,
  token_reduction = 11,
  synthetic = 12,
  init = 13,           ///< fresh weights, x = hash of the tensor's name
  patch_dropout = 14,  ///< x = position of the sample
};

using Words = std::array<std::uint32_t, 4>;

[[nodiscard]] Words philox(std::uint64_t key, const Words& counter);

/// Words 0 (low) and 1 of philox(key, {lo32 x, hi32 x, purpose, 0}).
[[nodiscard]] std::uint64_t derive(std::uint64_t key, Purpose purpose, std::uint64_t x);

/// Draw `d` of the stream `derive(seed, purpose, x)`.
[[nodiscard]] inline Words draw(std::uint64_t stream, std::uint32_t d) {
  return philox(stream, {d, 0, 0, 0});
}

/// A pseudo-random permutation of [0, n): position i goes to the returned element. n < 2^62.
[[nodiscard]] std::uint64_t permute(std::uint64_t key, std::uint64_t n, std::uint64_t i);
/// The position that permute() sends to `element`.
[[nodiscard]] std::uint64_t permute_inverse(std::uint64_t key, std::uint64_t n,
                                            std::uint64_t element);

__extension__ using Wide = unsigned __int128;

/// 64 random bits to an integer in [0, n).
[[nodiscard]] inline std::uint64_t scale_to(std::uint64_t bits, std::uint64_t n) {
  return static_cast<std::uint64_t>((static_cast<Wide>(bits) * n) >> 64);
}
/// 64 random bits to a double in [0, 1).
[[nodiscard]] inline double unit_double(std::uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}
/// Two words, low first, to 64 bits.
[[nodiscard]] inline std::uint64_t join(std::uint32_t low, std::uint32_t high) {
  return static_cast<std::uint64_t>(high) << 32 | low;
}

}  // namespace plumbline
