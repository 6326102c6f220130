// Elements pass through a block of accumulators on the stack: the inner loops vectorise, and `out`
// may alias a part because a block is read from all parts before it is written.
#include "dist/ordered_reduce.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::int64_t kBlock = 1024;

struct Bf16 {
  std::uint16_t bits;
};

template <typename T>
T widen(T value) {
  return value;
}
float widen(Bf16 value) { return std::bit_cast<float>(std::uint32_t{value.bits} << 16); }

template <typename T>
void narrow(T value, T& out) {
  out = value;
}
void narrow(float value, Bf16& out) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value != value) {
    out.bits = static_cast<std::uint16_t>((bits >> 16) | 0x40U);  // stays a NaN when cut
  } else {
    out.bits = static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
  }
}

template <typename A>
A add(A a, A b) {
  if constexpr (std::is_integral_v<A>) {
    using U = std::make_unsigned_t<A>;
    return static_cast<A>(static_cast<U>(a) + static_cast<U>(b));
  } else {
    return a + b;
  }
}

// `b != b` lets a NaN of b win; one of a stays because every comparison with it is false.
template <typename A>
A larger(A a, A b) {
  return b > a || b != b ? b : a;
}
template <typename A>
A smaller(A a, A b) {
  return b < a || b != b ? b : a;
}

template <typename T, typename Join>
void reduce(T* out, std::span<const void* const> parts, std::int64_t count, Join join) {
  using A = decltype(widen(T{}));
  A sums[kBlock];
  for (std::int64_t start = 0; start < count; start += kBlock) {
    const std::int64_t n = std::min(kBlock, count - start);
    const T* first = static_cast<const T*>(parts[0]) + start;
    for (std::int64_t i = 0; i < n; ++i) sums[i] = widen(first[i]);
    for (const void* part : parts.subspan(1)) {
      const T* next = static_cast<const T*>(part) + start;
      for (std::int64_t i = 0; i < n; ++i) sums[i] = join(sums[i], widen(next[i]));
    }
    for (std::int64_t i = 0; i < n; ++i) narrow(sums[i], out[start + i]);
  }
}

template <typename T>
void reduce(void* out, std::span<const void* const> parts, std::int64_t count, Reduce op) {
  using A = decltype(widen(T{}));
  T* to = static_cast<T*>(out);
  switch (op) {
    case Reduce::sum:
      return reduce(to, parts, count, [](A a, A b) { return add(a, b); });
    case Reduce::max:
      return reduce(to, parts, count, [](A a, A b) { return larger(a, b); });
    case Reduce::min:
      return reduce(to, parts, count, [](A a, A b) { return smaller(a, b); });
  }
}

}  // namespace

void ordered_reduce(void* out, std::span<const void* const> parts, std::int64_t count,
                    ElementType type, Reduce op) {
  require(!parts.empty(), "ordered_reduce needs at least one part");
  switch (type) {
    case ElementType::f32:
      return reduce<float>(out, parts, count, op);
    case ElementType::f64:
      return reduce<double>(out, parts, count, op);
    case ElementType::bf16:
      return reduce<Bf16>(out, parts, count, op);
    case ElementType::i32:
      return reduce<std::int32_t>(out, parts, count, op);
    case ElementType::i64:
      return reduce<std::int64_t>(out, parts, count, op);
    case ElementType::u8:
      return reduce<std::uint8_t>(out, parts, count, op);
  }
}

}  // namespace plumbline
