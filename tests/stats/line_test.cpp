// The line between two accuracies and what is measured from it.
#include <gtest/gtest.h>

#include <cmath>

#include "plumbline/error.h"
#include "plumbline/stats.h"

namespace plumbline {
namespace {

TEST(Transform, InversesAndKnownValues) {
  for (const Transform t : kTransforms) {
    for (const double p : {1e-9, 0.1, 0.5, 0.77, 1 - 1e-9}) {
      EXPECT_NEAR(apply_inverse(t, apply(t, p)), p, 1e-14) << name_of(t) << " " << p;
    }
  }
  EXPECT_NEAR(apply(Transform::logit, 0.75), std::log(3.0), 1e-15);
  EXPECT_NEAR(apply(Transform::probit, 0.975), 1.959963984540054, 1e-14);
  EXPECT_EQ(apply(Transform::linear, 0.3), 0.3);
  EXPECT_FALSE(std::isfinite(apply(Transform::logit, 0)));
  EXPECT_FALSE(std::isfinite(apply(Transform::probit, 1)));
}

TEST(FitLine, ExactPointsGiveAnExactLine) {
  const double x[] = {0, 1, 2, 5}, y[] = {1, 3, 5, 11};
  const Line line = fit_line(x, y);
  EXPECT_DOUBLE_EQ(line.slope, 2);
  EXPECT_DOUBLE_EQ(line.intercept, 1);
  EXPECT_DOUBLE_EQ(line.r2, 1);
  EXPECT_NEAR(line.slope_error, 0, 1e-12);
}

TEST(FitLine, TwoPointsHaveNoStandardError) {
  const double x[] = {0, 1}, y[] = {1, 3};
  EXPECT_TRUE(std::isnan(fit_line(x, y).slope_error));
  const double flat[] = {2, 2};
  EXPECT_TRUE(std::isnan(fit_line(x, flat).r2));
  EXPECT_THROW((void)fit_line(flat, y), Error);
  EXPECT_THROW((void)fit_line(std::span(x, 1), std::span(y, 1)), Error);
}

TEST(BootstrapLine, BandHoldsTheLineAndIsNarrowWhereTheDataAre) {
  std::vector<double> x, y;
  for (int i = 0; i < 60; ++i) {
    x.push_back(i / 60.0);
    y.push_back(0.8 * x.back() + 0.1 + (i % 3 - 1) * 0.02);
  }
  const double grid[] = {0.5, 3.0};
  const LineBand band = bootstrap_line(x, y, grid);
  EXPECT_LT(band.slope.lo, 0.8);
  EXPECT_GT(band.slope.hi, 0.8);
  EXPECT_LT(band.intercept.lo, 0.1);
  EXPECT_GT(band.intercept.hi, 0.1);
  EXPECT_LT(band.at[0].lo, 0.5);
  EXPECT_GT(band.at[0].hi, 0.5);
  EXPECT_GT(band.at[1].hi - band.at[1].lo, 5 * (band.at[0].hi - band.at[0].lo));
}

TEST(BootstrapLine, SlopeIntervalHasTheWidthOfItsStandardError) {
  std::vector<double> x, y;
  for (int i = 0; i < 200; ++i) {
    x.push_back(i * 0.01);
    y.push_back(x.back() + 0.1 * std::sin(97.0 * i));
  }
  const LineBand band = bootstrap_line(x, y, {});
  const double half = 1.96 * fit_line(x, y).slope_error;
  EXPECT_NEAR(band.slope.hi - band.slope.lo, 2 * half, 0.3 * half);
}

TEST(BootstrapLine, TwoPointsDrawAgainUntilThereIsALine) {
  const double x[] = {0, 1}, y[] = {0, 2};
  const LineBand band = bootstrap_line(x, y, {});
  EXPECT_DOUBLE_EQ(band.slope.lo, 2);
  EXPECT_DOUBLE_EQ(band.slope.hi, 2);
}

TEST(EffectiveRobustness, IsZeroOnTheLineAndTheGapAboveIt) {
  Line line;
  line.slope = 1.2;
  line.intercept = -0.7;
  for (const Transform t : kTransforms) {
    const double on = expected_accuracy(line, t, 0.8);
    EXPECT_NEAR(effective_robustness(line, t, 0.8, on + 0.03), 0.03, 1e-14);
    EXPECT_NEAR(residual(line, t, 0.8, on), 0, 1e-13);
  }
  EXPECT_NEAR(expected_accuracy(line, Transform::logit, 0.8),
              1 / (1 + std::exp(-(1.2 * std::log(4.0) - 0.7))), 1e-15);
  EXPECT_NEAR(relative_robustness(0.5, 0.44), 0.06, 1e-15);
}

ModelPoint point(const char* model, const char* type, double x, double y) {
  return {model, type, x, y};
}

TEST(SelectBaseline, TypeNameThresholdAndMissingCells) {
  const ShiftRule& rule = find_shift_rule("v2", ClassAxis::full);
  std::vector<ModelPoint> points = {
      point("resnet50", "STANDARD", 0.76, 0.63),
      point("resnet50_AWS_baseline", "STANDARD", 0.76, 0.63),
      point("x_Batch64", "STANDARD", 0.76, 0.63),
      point("weak", "STANDARD", 0.54, 0.4),
      point("edge", "STANDARD", 0.55, 0.4),
      point("robust", "ROBUST_INTV", 0.7, 0.6),
      point("subsample_1_of_8_batch64", "LOW_ACCURACY_CNN", 0.5, 0.4),
      point("subsample_500_classes_batch64_original_images", "LOW_ACCURACY_CNN", 0.4, 0.3),
      point("all_right", "STANDARD", 0.9, 1.0),
      {"no_y", "STANDARD", 0.7, std::nullopt},
  };
  using Places = std::vector<std::size_t>;
  EXPECT_EQ(select_standard(points, rule, Transform::logit), (Places{0, 4}));
  EXPECT_EQ(select_standard(points, rule, Transform::linear), (Places{0, 4, 8}));
  EXPECT_EQ(select_baseline(points, rule, Baseline::extended, Transform::logit),
            (Places{0, 3, 4, 6}));
}

TEST(SelectBaseline, TheModelThatBuiltASetIsNeverInItsFit) {
  const ModelPoint points[] = {point("resnet50", "STANDARD", 0.93, 0.01),
                               point("resnet101", "STANDARD", 0.95, 0.1)};
  const ShiftRule& rule = find_shift_rule("a", ClassAxis::restricted);
  EXPECT_EQ(select_standard(points, rule, Transform::linear), std::vector<std::size_t>{1});
  EXPECT_EQ(*rule.knee, 0.9186);
  EXPECT_THROW((void)find_shift_rule("v2", ClassAxis::restricted), UsageError);
}

}  // namespace
}  // namespace plumbline
