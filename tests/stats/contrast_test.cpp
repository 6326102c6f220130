// Groups of models, judgements, adjusted p values: closed forms and edges (scipy_test has the
// rest).
#include <gtest/gtest.h>

#include <cmath>

#include "plumbline/error.h"
#include "plumbline/stats.h"

namespace plumbline {
namespace {

TEST(Holm, KnownValuesAndOrder) {
  // 0.01 * 4; 0.02 * 3; 0.03 * 2; 0.2 * 1, each at least the one before.
  const std::vector<double> p = {0.03, 0.01, 0.2, 0.02};
  const std::vector<double> expected = {0.06, 0.04, 0.2, 0.06};
  const std::vector<double> adjusted = holm_adjusted(p);
  for (std::size_t i = 0; i < p.size(); ++i) EXPECT_DOUBLE_EQ(adjusted[i], expected[i]);
  EXPECT_EQ(holm_adjusted(std::vector<double>{0.6, 0.7}), (std::vector<double>{1, 1}));
  EXPECT_TRUE(holm_adjusted({}).empty());
}

TEST(StudentT, ClosedForms) {
  // One degree of freedom: Cauchy. Two: t = a sqrt(2 / (1 - a^2)), a = 2p - 1.
  EXPECT_NEAR(t_quantile(0.975, 1), std::tan(std::acos(-1.0) * 0.475), 1e-9);
  const double a = 0.95;
  EXPECT_NEAR(t_quantile(0.975, 2), a * std::sqrt(2 / (1 - a * a)), 1e-10);
  EXPECT_EQ(t_quantile(0.5, 7), 0);
  EXPECT_DOUBLE_EQ(t_quantile(0.1, 3.5), -t_quantile(0.9, 3.5));
  EXPECT_NEAR(t_quantile(0.975, 1e7), normal_quantile(0.975), 1e-6);
  EXPECT_NEAR(t_two_sided(t_quantile(0.975, 4.2), 4.2), 0.05, 1e-12);
  EXPECT_EQ(t_two_sided(0, 3), 1);
  EXPECT_THROW((void)t_quantile(0.5, 0), Error);
  EXPECT_THROW((void)t_quantile(1, 3), Error);
}

TEST(Contrast, SmallGroups) {
  const std::vector<double> one = {0.5}, two = {0.6, 0.7};
  const Contrast c = contrast_means(one, two);
  EXPECT_NEAR(c.difference, 0.15, 1e-15);
  EXPECT_FALSE(c.ci95.has_value());
  EXPECT_FALSE(c.p.has_value());
  EXPECT_FALSE(models_needed(c, 0.02).has_value());
  EXPECT_EQ(judge(c.ci95, 0.02), Verdict::not_resolved);
  EXPECT_THROW((void)contrast_means({}, two), Error);
}

TEST(Contrast, NoVarianceAtAll) {
  const std::vector<double> a = {0.5, 0.5}, b = {0.75, 0.75};
  EXPECT_EQ(contrast_means(a, b).p, 0.0);
  EXPECT_EQ(contrast_means(a, b).ci95->lo, 0.25);
  EXPECT_EQ(contrast_means(a, a).p, 1.0);
  EXPECT_EQ(judge(contrast_means(a, a).ci95, 0.02), Verdict::no_effect);
}

TEST(Contrast, SecondMinusFirstAndMirrored) {
  const std::vector<double> a = {0.50, 0.52, 0.48, 0.51}, b = {0.55, 0.58, 0.56};
  const Contrast c = contrast_means(a, b), mirrored = contrast_means(b, a);
  EXPECT_GT(c.difference, 0);
  EXPECT_EQ(c.difference, -mirrored.difference);
  EXPECT_NEAR(c.ci95->lo, -mirrored.ci95->hi, 1e-15);
  EXPECT_EQ(judge(c.ci95, 0.02), Verdict::effect);
  EXPECT_EQ(judge(mirrored.ci95, 0.02), Verdict::effect);
}

TEST(Verdicts, OfIntervals) {
  EXPECT_EQ(judge(Interval{0.001, 0.5}, 0.1), Verdict::effect);  // small, but there
  EXPECT_EQ(judge(Interval{-0.01, 0.02}, 0.02), Verdict::no_effect);
  EXPECT_EQ(judge(Interval{-0.01, 0.021}, 0.02), Verdict::not_resolved);
  EXPECT_EQ(judge(Interval{0, 0.5}, 0.1), Verdict::not_resolved);  // 0 is not excluded
  EXPECT_EQ(name_of(Verdict::no_effect), "no effect");
  Contrast c;
  c.n_first = 3;
  c.n_second = 5;
  c.ci95 = {-0.03, 0.05};  // half 0.04, twice the margin: four times as many
  EXPECT_EQ(models_needed(c, 0.02), 20);
}

}  // namespace
}  // namespace plumbline
