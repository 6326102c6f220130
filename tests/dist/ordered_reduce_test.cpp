// Rank order, rounding and NaN of the host back ends' sums.
#include "dist/ordered_reduce.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace plumbline {
namespace {

template <typename T>
T reduce(std::initializer_list<T> parts, ElementType type, Reduce op) {
  std::vector<const void*> pointers;
  for (const T& part : parts) pointers.push_back(&part);
  T out{};
  ordered_reduce(&out, pointers, 1, type, op);
  return out;
}

TEST(OrderedReduce, AddsFromLeftToRight) {
  const float big = 1e8F;
  EXPECT_EQ(reduce({big, -big, 1.0F}, ElementType::f32, Reduce::sum), 1.0F);
  EXPECT_EQ(reduce({1.0F, big, -big}, ElementType::f32, Reduce::sum), 0.0F);
}

TEST(OrderedReduce, Bf16SumsInFloat32AndRoundsOnce) {
  const auto bits = [](float f) {
    return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(f) >> 16);
  };
  // 256 + 1 + 1: in bfloat16 each step would round back to 256; the neighbour above is 258.
  EXPECT_EQ(reduce({bits(256), bits(1), bits(1)}, ElementType::bf16, Reduce::sum), bits(258));
  // 257 and 259 lie half way between bfloat16 numbers: to the even mantissa.
  EXPECT_EQ(reduce({bits(256), bits(1)}, ElementType::bf16, Reduce::sum), bits(256));
  EXPECT_EQ(reduce({bits(258), bits(1)}, ElementType::bf16, Reduce::sum), bits(260));
  EXPECT_EQ(reduce({bits(-2), bits(3)}, ElementType::bf16, Reduce::min), bits(-2));
}

TEST(OrderedReduce, NanWins) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Reduce op : {Reduce::sum, Reduce::max, Reduce::min}) {
    EXPECT_TRUE(std::isnan(reduce({nan, 1.0F, 2.0F}, ElementType::f32, op)));
    EXPECT_TRUE(std::isnan(reduce({1.0F, nan, 2.0F}, ElementType::f32, op)));
    EXPECT_TRUE(std::isnan(reduce({1.0F, 2.0F, nan}, ElementType::f32, op)));
  }
  const std::uint16_t bf16_nan = 0x7f81, one = 0x3f80;  // its payload is cut away by rounding
  EXPECT_EQ(reduce({bf16_nan, one}, ElementType::bf16, Reduce::max) & 0x7fc0, 0x7fc0);
}

TEST(OrderedReduce, IntegersWrap) {
  const std::int32_t top = std::numeric_limits<std::int32_t>::max();
  EXPECT_EQ(reduce({top, 1}, ElementType::i32, Reduce::sum),
            std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(reduce<std::uint8_t>({200, 100}, ElementType::u8, Reduce::sum), 44);
}

TEST(OrderedReduce, OutMayBeAPart) {
  constexpr std::int64_t n = 2500;  // more than two blocks
  std::vector<double> a(n), b(n);
  for (std::size_t i = 0; i < n; ++i) a[i] = static_cast<double>(i), b[i] = 2.0 * a[i];
  const std::array<const void*, 2> parts{a.data(), b.data()};
  ordered_reduce(b.data(), parts, n, ElementType::f64, Reduce::sum);
  for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(b[i], 3.0 * static_cast<double>(i));
}

}  // namespace
}  // namespace plumbline
