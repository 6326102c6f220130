#include "core/philox.h"

#include <algorithm>
#include <bit>

namespace plumbline {
namespace {

std::uint32_t fmix32(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x85ebca6bU;
  x ^= x >> 13;
  x *= 0xc2b2ae35U;
  return x ^ (x >> 16);
}

/// Round keys and half width of the Feistel network over [0, 2^(2h)).
struct Feistel {
  std::array<std::uint32_t, 8> keys;
  int half_bits;
  std::uint64_t mask;
};

Feistel make_feistel(std::uint64_t key, std::uint64_t n) {
  const auto p = static_cast<std::uint32_t>(Purpose::permutation);
  const Words a = philox(key, {0, 0, p, 0});
  const Words b = philox(key, {0, 0, p, 1});
  Feistel f{};
  std::copy(a.begin(), a.end(), f.keys.begin());
  std::copy(b.begin(), b.end(), f.keys.begin() + 4);
  const int bits = n <= 1 ? 0 : static_cast<int>(std::bit_width(n - 1));
  f.half_bits = (std::max(8, bits) + 1) / 2;
  f.mask = (std::uint64_t{1} << f.half_bits) - 1;
  return f;
}

std::uint64_t round_function(const Feistel& f, std::uint64_t r, int j) {
  return fmix32(static_cast<std::uint32_t>(r) + f.keys[static_cast<std::size_t>(j)]) & f.mask;
}

}  // namespace

Words philox(std::uint64_t key, const Words& counter) {
  auto k0 = static_cast<std::uint32_t>(key);
  auto k1 = static_cast<std::uint32_t>(key >> 32);
  Words c = counter;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * c[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * c[2];
    c = {static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(a)};
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return c;
}

std::uint64_t derive(std::uint64_t key, Purpose purpose, std::uint64_t x) {
  const Words w = philox(key, {static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(x >> 32),
                               static_cast<std::uint32_t>(purpose), 0});
  return join(w[0], w[1]);
}

std::uint64_t permute(std::uint64_t key, std::uint64_t n, std::uint64_t i) {
  const Feistel f = make_feistel(key, n);
  // Cycle walking: the network permutes a power of four >= n; elements outside [0, n) go on.
  do {
    std::uint64_t l = i >> f.half_bits;
    std::uint64_t r = i & f.mask;
    for (int j = 0; j < 8; ++j) {
      const std::uint64_t next = l ^ round_function(f, r, j);
      l = r;
      r = next;
    }
    i = l << f.half_bits | r;
  } while (i >= n);
  return i;
}

std::uint64_t permute_inverse(std::uint64_t key, std::uint64_t n, std::uint64_t element) {
  const Feistel f = make_feistel(key, n);
  std::uint64_t i = element;
  do {
    std::uint64_t l = i >> f.half_bits;
    std::uint64_t r = i & f.mask;
    for (int j = 7; j >= 0; --j) {
      const std::uint64_t previous = r ^ round_function(f, l, j);
      r = l;
      l = previous;
    }
    i = l << f.half_bits | r;
  } while (i >= n);
  return i;
}

}  // namespace plumbline
