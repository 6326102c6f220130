#include "data/siphash.h"

#include <bit>
#include <cstring>

namespace plumbline {
namespace {

struct Lanes {
  std::uint64_t v0, v1, v2, v3;
};

void round_of(Lanes& s) {
  s.v0 += s.v1;
  s.v1 = std::rotl(s.v1, 13) ^ s.v0;
  s.v0 = std::rotl(s.v0, 32);
  s.v2 += s.v3;
  s.v3 = std::rotl(s.v3, 16) ^ s.v2;
  s.v0 += s.v3;
  s.v3 = std::rotl(s.v3, 21) ^ s.v0;
  s.v2 += s.v1;
  s.v1 = std::rotl(s.v1, 17) ^ s.v2;
  s.v2 = std::rotl(s.v2, 32);
}

void absorb(Lanes& s, std::uint64_t word) {
  s.v3 ^= word;
  round_of(s);
  round_of(s);
  s.v0 ^= word;
}

}  // namespace

std::uint64_t siphash(std::string_view bytes, std::uint64_t key_low, std::uint64_t key_high) {
  static_assert(std::endian::native == std::endian::little);
  Lanes s{key_low ^ 0x736f6d6570736575ULL, key_high ^ 0x646f72616e646f6dULL,
          key_low ^ 0x6c7967656e657261ULL, key_high ^ 0x7465646279746573ULL};
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    absorb(s, word);
  }
  std::uint64_t last = static_cast<std::uint64_t>(bytes.size()) << 56;
  for (int shift = 0; i < bytes.size(); ++i, shift += 8) {
    last |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << shift;
  }
  absorb(s, last);
  s.v2 ^= 0xff;
  for (int k = 0; k < 4; ++k) round_of(s);
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

}  // namespace plumbline
