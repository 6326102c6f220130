// SipHash-2-4 (Aumasson and Bernstein 2012): the keyed hash of sample keys.
#pragma once

#include <cstdint>
#include <string_view>

namespace plumbline {

/// 64 bits of SipHash-2-4 under the 128-bit key (low, high).
[[nodiscard]] std::uint64_t siphash(std::string_view bytes, std::uint64_t key_low = 0,
                                    std::uint64_t key_high = 0);

}  // namespace plumbline
