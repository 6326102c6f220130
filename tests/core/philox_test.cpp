#include "core/philox.h"

#include <gtest/gtest.h>

#include <set>

namespace plumbline {
namespace {

TEST(Philox, PublishedZeroVector) {
  const Words expected = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), expected);
}

TEST(Philox, DeriveCheckValue) { EXPECT_EQ(derive(42, Purpose::vshard, 1), 0x1d91b19b85a8df3cULL); }

TEST(Permute, CheckValues) {
  const std::uint64_t key = derive(42, Purpose::vshard, 1);
  const std::uint64_t expected[] = {781, 491, 326, 379, 381, 992, 283, 356};
  for (std::uint64_t i = 0; i < 8; ++i) EXPECT_EQ(permute(key, 1000, i), expected[i]) << i;
}

TEST(Permute, IsABijectionWithInverse) {
  for (const std::uint64_t n : {1, 2, 3, 17, 255, 256, 257, 1000}) {
    std::set<std::uint64_t> seen;
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t element = permute(7, n, i);
      ASSERT_LT(element, n);
      seen.insert(element);
      ASSERT_EQ(permute_inverse(7, n, element), i);
    }
    EXPECT_EQ(seen.size(), n);
  }
}

TEST(ScaleTo, CoversTheRangeAndNeverReachesN) {
  EXPECT_EQ(scale_to(0, 10), 0U);
  EXPECT_EQ(scale_to(~std::uint64_t{0}, 10), 9U);
  EXPECT_LT(unit_double(~std::uint64_t{0}), 1.0);
}

}  // namespace
}  // namespace plumbline
