// Intervals against closed forms; scipy_test compares with scipy.
#include <gtest/gtest.h>

#include <cmath>

#include "plumbline/error.h"
#include "plumbline/stats.h"
#include "stats/distributions.h"

namespace plumbline {
namespace {

TEST(ClopperPearson, EndsHaveClosedForms) {
  for (const double n : {1.0, 10.0, 1234.0, 1e7}) {
    const Interval none = clopper_pearson(0, n);
    EXPECT_EQ(none.lo, 0);
    EXPECT_NEAR(none.hi / -std::expm1(std::log(0.025) / n), 1, 1e-11);
    const Interval all = clopper_pearson(n, n);
    EXPECT_EQ(all.hi, 1);
    EXPECT_NEAR(all.lo / std::exp(std::log(0.025) / n), 1, 1e-11);
  }
}

TEST(ClopperPearson, TailsAtTheEndsAreHalfOfAlpha) {
  // At lo, P[X >= k] = alpha/2; at hi, P[X <= k] = alpha/2 (binomial sums in plain form).
  const int n = 23, k = 9;
  const Interval ci = clopper_pearson(k, n, 0.1);
  const auto at_most = [&](int last, double p) {
    double sum = 0, choose = 1;
    for (int i = 0; i <= last; ++i) {
      sum += choose * std::pow(p, i) * std::pow(1 - p, n - i);
      choose *= static_cast<double>(n - i) / (i + 1);
    }
    return sum;
  };
  EXPECT_NEAR(at_most(k, ci.hi), 0.05, 1e-12);
  EXPECT_NEAR(1 - at_most(k - 1, ci.lo), 0.05, 1e-12);
}

TEST(ClopperPearson, AccuracyTimesNMayRoundAboveN) {
  EXPECT_EQ(clopper_pearson(50000 * (1 + 1e-15), 50000).hi, 1);
}

TEST(ClopperPearson, RefusesWhatIsNoShare) {
  EXPECT_THROW((void)clopper_pearson(3, 2), Error);
  EXPECT_THROW((void)clopper_pearson(-1, 2), Error);
  EXPECT_THROW((void)clopper_pearson(0, 0), Error);
  EXPECT_THROW((void)clopper_pearson(std::nan(""), 2), Error);
  EXPECT_THROW((void)clopper_pearson(1, 2, 0), Error);
}

TEST(MeanRecallInterval, EqualsTheShareOfABalancedSet) {
  const std::int64_t correct[] = {50, 10, 31, 49}, total[] = {50, 50, 50, 50};
  const Interval ci = mean_recall_interval(correct, total), share = clopper_pearson(140, 200);
  EXPECT_NEAR(ci.lo, share.lo, 1e-12);
  EXPECT_NEAR(ci.hi, share.hi, 1e-12);
}

TEST(MeanRecallInterval, ARareClassWidensIt) {
  const std::int64_t correct[] = {700, 1}, total[] = {1000, 2};
  const Interval ci = mean_recall_interval(correct, total);
  EXPECT_LT(ci.lo, 0.6);
  EXPECT_GT(ci.hi, 0.6);
  EXPECT_GT(ci.hi - ci.lo, 0.5);  // two images decide half of the mean
}

TEST(MeanRecallInterval, EmptyClassesAreLeftOut) {
  const std::int64_t correct[] = {3, 0, 5}, total[] = {8, 0, 8};
  const Interval ci = mean_recall_interval(correct, total), share = clopper_pearson(8, 16);
  EXPECT_NEAR(ci.lo, share.lo, 1e-12);
  const std::int64_t none[] = {0};
  EXPECT_THROW((void)mean_recall_interval(none, none), Error);
}

TEST(McNemar, SmallCountsByHand) {
  EXPECT_EQ(mcnemar_exact(0, 0), 1);
  EXPECT_EQ(mcnemar_exact(5, 5), 1);
  EXPECT_NEAR(mcnemar_exact(0, 1), 1.0, 1e-15);
  EXPECT_NEAR(mcnemar_exact(0, 5), 2 / 32.0, 1e-15);
  EXPECT_NEAR(mcnemar_exact(9, 1), 2 * 11 / 1024.0, 1e-15);
}

TEST(ComparePaired, CountsAndSign) {
  const std::uint8_t first[] = {1, 1, 0, 0, 1, 0}, second[] = {1, 0, 1, 1, 1, 0};
  const PairedComparison c = compare_paired(first, second);
  EXPECT_EQ(c.n, 6);
  EXPECT_EQ(c.only_first, 1);
  EXPECT_EQ(c.only_second, 2);
  EXPECT_NEAR(c.difference, 1 / 6.0, 1e-15);
  EXPECT_LT(c.ci95.lo, 0);
  EXPECT_GT(c.ci95.hi, 1 / 6.0);
  EXPECT_THROW((void)compare_paired(first, {}), Error);
}

TEST(BootstrapMean, WidthIsThatOfTheNormalApproximation) {
  std::vector<double> values(4000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 4 == 0 ? 1 : 0;
  const Interval ci = bootstrap_mean(values);
  const double half = 1.96 * std::sqrt(0.25 * 0.75 / 4000);
  EXPECT_NEAR(ci.lo, 0.25 - half, 0.1 * half);
  EXPECT_NEAR(ci.hi, 0.25 + half, 0.1 * half);
}

TEST(BootstrapMean, ClustersOfCopiesWidenItAsTheirNumberSays) {
  // 100 distinct rows, each 40 times: the information of 100 rows, not of 4000.
  std::vector<double> values, distinct;
  std::vector<std::int64_t> cluster;
  for (int c = 0; c < 100; ++c) {
    distinct.push_back(c % 4 == 0 ? 1 : 0);
    for (int i = 0; i < 40; ++i) {
      values.push_back(distinct.back());
      cluster.push_back(1000 - c);
    }
  }
  const Interval clustered = bootstrap_mean(values, cluster), few = bootstrap_mean(distinct);
  EXPECT_DOUBLE_EQ(clustered.lo, few.lo);
  EXPECT_DOUBLE_EQ(clustered.hi, few.hi);
}

TEST(BootstrapMean, IsAFunctionOfTheSeed) {
  const std::vector<double> values = {0.1, 0.5, 0.2, 0.9, 0.4};
  EXPECT_EQ(bootstrap_mean(values).lo, bootstrap_mean(values).lo);
  EXPECT_NE(bootstrap_mean(values, {}, 999, 1).lo, bootstrap_mean(values, {}, 999, 2).lo);
  EXPECT_THROW((void)bootstrap_mean({}), Error);
  EXPECT_THROW((void)bootstrap_mean(values, std::vector<std::int64_t>{1}), Error);
}

TEST(BetaQuantile, UniformAndSymmetricCases) {
  EXPECT_NEAR(beta_quantile(1, 1, 0.3, false), 0.3, 1e-15);
  EXPECT_NEAR(beta_quantile(1, 1, 0.3, true), 0.7, 1e-15);
  EXPECT_NEAR(beta_quantile(4.5, 4.5, 0.5, false), 0.5, 1e-14);
  EXPECT_NEAR(beta_quantile(1, 3, 1e-30, false) / (1e-30 / 3), 1, 1e-11);
}

}  // namespace
}  // namespace plumbline
