#include "data/order_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "plumbline/error.h"

namespace plumbline {
namespace {

PlanOptions options_of(std::int64_t batch, int lanes) {
  PlanOptions options;
  options.seed = 42;
  options.global_batch = batch;
  options.lanes = lanes;
  options.vshard = 16;
  return options;
}

OrderPlan two_sources(bool replace) {
  PlanOptions options = options_of(24, 6);
  options.replace = replace;
  return OrderPlan(options, {{"alpha", 1000, 1.0}, {"beta", 333, 2.0}});
}

std::vector<std::string> batch_of(const OrderPlan& plan, std::uint64_t step) {
  std::vector<std::string> rows;
  const auto per_lane = static_cast<std::uint64_t>(plan.rows_per_lane());
  for (int c = 0; c < plan.lanes(); ++c) {
    LaneCursor cursor(plan, c, step * per_lane);
    for (std::uint64_t p = 0; p < per_lane; ++p) {
      const Place place = cursor.next();
      rows.push_back(str(place.source, ":", place.ordinal));
    }
  }
  return rows;
}

void expect_golden(const OrderPlan& plan, const std::string& name) {
  std::ifstream file(str(PLUMBLINE_SOURCE_DIR, "/tests/golden/data_order/", name, ".txt"));
  ASSERT_TRUE(file) << name;
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    std::istringstream words(line);
    std::uint64_t step = 0;
    words >> step;
    std::vector<std::string> expected;
    for (std::string word; words >> word;) expected.push_back(word);
    EXPECT_EQ(batch_of(plan, step), expected) << "step " << step;
  }
  EXPECT_EQ(lines, 6);
}

TEST(OrderPlan, EqualsTheSecondImplementation) {
  expect_golden(two_sources(false), "permute");
  expect_golden(two_sources(true), "replace");
}

TEST(OrderPlan, JumpingEqualsWalking) {
  for (const bool replace : {false, true}) {
    const OrderPlan plan = two_sources(replace);
    for (const int lane : {0, 3, 5}) {
      LaneCursor walking(plan, lane, 0);
      for (std::uint64_t row = 0; row < 2500; ++row) {
        const Place expected = walking.next();
        if (row % 37 != 0) continue;
        const Place got = LaneCursor(plan, lane, row).next();
        ASSERT_EQ(got.source, expected.source) << row;
        ASSERT_EQ(got.ordinal, expected.ordinal) << row;
      }
    }
  }
}

TEST(OrderPlan, AnEpochOfVshardsDeliversEachSampleOnce) {
  const OrderPlan plan(options_of(24, 6), {{"alpha", 997, 1.0}});
  const std::uint64_t vshards = plan.vshard_count(0);
  EXPECT_GE(vshards, 48U);
  std::set<std::uint64_t> ordinals;
  for (std::uint64_t j = 0; j < vshards; ++j) {
    const Vshard v = plan.vshard_at(0, static_cast<int>(j % 6), j / 6);
    for (std::uint64_t i = 0; i < v.size; ++i) EXPECT_TRUE(ordinals.insert(v.first + i).second);
  }
  EXPECT_EQ(ordinals.size(), 997U);
}

TEST(OrderPlan, PeriodsHoldTheQuotas) {
  const OrderPlan plan = two_sources(false);
  LaneCursor cursor(plan, 2, 0);
  for (int period = 0; period < 3; ++period) {
    std::map<int, std::uint64_t> rows;
    for (std::uint64_t p = 0; p < plan.period(); ++p) ++rows[cursor.next().source];
    EXPECT_EQ(rows[0], plan.quotas()[0]);
    EXPECT_EQ(rows[1], plan.quotas()[1]);
  }
}

TEST(OrderPlan, ANewSourceLeavesTheInnerOrderOfTheOthers) {
  const OrderPlan alone(options_of(24, 6), {{"alpha", 1000, 1.0}});
  const OrderPlan both = two_sources(false);
  LaneCursor a(alone, 1, 0);
  LaneCursor b(both, 1, 0);
  for (int i = 0; i < 500; ++i) {
    Place place = b.next();
    while (place.source != 0) place = b.next();
    ASSERT_EQ(place.ordinal, a.next().ordinal);
  }
}

TEST(OrderPlan, WeightsDecideSharesAndEpochs) {
  PlanOptions options = options_of(24, 6);
  const std::vector<PlanSource> sources = {{"a", 1000, 1.0}, {"b", 500, 2.0}};
  EXPECT_EQ(OrderPlan(options, sources).quotas()[0], 333U);
  EXPECT_EQ(OrderPlan(options, sources).epoch_rows(), 1500);
  options.weights = "factor";
  EXPECT_EQ(OrderPlan(options, sources).quotas()[0], 500U);
  EXPECT_EQ(OrderPlan(options, sources).epoch_rows(), 1500);
  options.weights = "repeat";
  EXPECT_EQ(OrderPlan(options, sources).epoch_rows(), 2000);
  options.weights = "equal";
  EXPECT_THROW(OrderPlan(options, sources), UsageError);
}

TEST(OrderPlan, ChoosesLanes) {
  PlanOptions options = options_of(1000, 0);
  EXPECT_EQ(OrderPlan(options, {{"a", 5000, 1.0}}).lanes(), 500);
  options.world = 8;
  EXPECT_EQ(OrderPlan(options, {{"a", 5000, 1.0}}).lanes(), 200);
}

TEST(OrderPlan, RefusesWhatCannotWork) {
  EXPECT_THROW(OrderPlan(options_of(24, 5), {{"a", 100, 1.0}}), UsageError);
  EXPECT_THROW(OrderPlan(options_of(24, 6), {{"a", 23, 1.0}}), UsageError);
  EXPECT_THROW(OrderPlan(options_of(24, 6), {{"a", 100, 0.0}}), UsageError);
  PlanOptions options = options_of(24, 6);
  options.world = 4;
  try {
    const OrderPlan plan(options, {{"a", 100, 1.0}});
    FAIL() << "4 ranks do not divide 6 lanes";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("1, 2, 3, 6"), std::string::npos) << error.what();
  }
  options.world = 1;
  options.allow_repeats = true;
  EXPECT_NO_THROW(OrderPlan(options, {{"a", 23, 1.0}}));
}

TEST(LargestRemainder, SumsExactly) {
  EXPECT_EQ(largest_remainder({1, 1, 1}, 10), (std::vector<std::uint64_t>{4, 3, 3}));
  EXPECT_EQ(largest_remainder({0.1, 0.9}, 10), (std::vector<std::uint64_t>{1, 9}));
}

}  // namespace
}  // namespace plumbline
