// The statistics of robustness studies: intervals, paired comparisons, the line between accuracies
// on two test sets, effective robustness. Accuracies are fractions. Standard library only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plumbline {

struct Interval {
  double lo = 0;
  double hi = 1;
};

/// Of the bars in plots: intervals of 99.5 %, so that bars of many models that miss each other mean
/// something. Tables have those of 95 %.
inline constexpr double kPlotAlpha = 0.005;

/// Seed of every bootstrap unless the caller says otherwise.
inline constexpr std::uint64_t kBootstrapSeed = 720257663;

/// Clopper-Pearson interval of a binomial share, coverage >= 1 - alpha:
/// lo = BetaInv(alpha/2; k, n-k+1), hi = BetaInv(1-alpha/2; k+1, n-k); lo = 0 for k = 0, hi = 1 for
/// k = n. `successes` = accuracy * n need not be an integer. Relative error below 1e-9 for n up to
/// 1e7. Throws Error unless 0 <= successes <= trials, trials > 0 and 0 < alpha < 1.
[[nodiscard]] Interval clopper_pearson(double successes, double trials, double alpha = 0.05);

/// Interval of the mean recall over classes. Class c has total[c] > 0 images, correct[c] of them
/// right. Clopper-Pearson on the effective sample size (Korn and Graubard 1998)
/// min(K^2 / sum 1/n_c, p(1-p) / V), with p the mean recall and V = sum p_c(1-p_c)/n_c / K^2 its
/// variance: equal to clopper_pearson(top1) when all classes have the same size.
/// Classes with total 0 are left out; throws Error when none remains.
[[nodiscard]] Interval mean_recall_interval(std::span<const std::int64_t> correct,
                                            std::span<const std::int64_t> total,
                                            double alpha = 0.05);

/// Exact McNemar test, two-sided: min(1, 2 P[Binomial(b + c, 1/2) <= min(b, c)]) for b images that
/// only the first and c that only the second model has right. 1 when b + c = 0.
[[nodiscard]] double mcnemar_exact(std::int64_t only_first, std::int64_t only_second);

/// 95 % percentile bootstrap interval of mean(values). Rows with equal `cluster` are drawn
/// together (empty: every row alone). Sorted resamples at places R/40 - 1 and R - R/40.
[[nodiscard]] Interval bootstrap_mean(std::span<const double> values,
                                      std::span<const std::int64_t> cluster = {},
                                      int resamples = 2000, std::uint64_t seed = kBootstrapSeed);

/// Two models on the same images.
struct PairedComparison {
  std::int64_t n = 0;
  std::int64_t only_first = 0, only_second = 0;
  double difference = 0;  ///< accuracy of the second minus that of the first
  Interval ci95;          ///< of `difference`, paired bootstrap (by cluster)
  double mcnemar_p = 1;   ///< counts images as independent: not for clustered ones
};

/// first, second: 1 where the model is right, in the same order of images. Throws Error when the
/// lengths differ or are 0.
[[nodiscard]] PairedComparison compare_paired(std::span<const std::uint8_t> first,
                                              std::span<const std::uint8_t> second,
                                              std::span<const std::int64_t> cluster = {},
                                              int resamples = 2000,
                                              std::uint64_t seed = kBootstrapSeed);

/// p values of several tests, made to hold together (Holm 1979): the chance of any false one among
/// those at or below a level is at most that level. In the order given.
[[nodiscard]] std::vector<double> holm_adjusted(std::span<const double> p_values);

/// Quantile and two-sided tail of Student's t with `freedom` > 0 degrees of freedom, 0 < p < 1.
[[nodiscard]] double t_quantile(double p, double freedom);
[[nodiscard]] double t_two_sided(double t, double freedom);

/// Two groups of models (arms of a study; within one they differ by the seed).
struct Contrast {
  std::int64_t n_first = 0, n_second = 0;
  double mean_first = 0, mean_second = 0;
  double difference = 0;         ///< mean of the second minus mean of the first
  std::optional<Interval> ci95;  ///< of `difference`; none below two models in a group
  std::optional<double> p;       ///< two-sided, of no difference
};

/// Welch's t interval and test: the groups may vary differently. Groups without any variance have
/// the interval [difference, difference]. Throws Error for an empty group.
[[nodiscard]] Contrast contrast_means(std::span<const double> first,
                                      std::span<const double> second);

/// What an interval says of a contrast: `effect` when it excludes 0, `no_effect` when it lies
/// within
/// [-margin, margin], else `not_resolved`. Only `no_effect` supports "does not matter".
enum class Verdict { effect, no_effect, not_resolved };
[[nodiscard]] std::string_view name_of(Verdict verdict);
[[nodiscard]] Verdict judge(const std::optional<Interval>& ci95, double margin);
/// Margins of `judge`: of differences in accuracy, and of residuals on logit axes.
inline constexpr double kAccuracyMargin = 0.02;
inline constexpr double kResidualMargin = 0.10;

/// Models a group at which the interval would be as narrow as the margin, if the spread stays; none
/// without an interval.
[[nodiscard]] std::optional<std::int64_t> models_needed(const Contrast& contrast, double margin);

/// Axes on which the accuracies of many models lie on a line.
enum class Transform { logit, probit, linear };
inline constexpr std::array kTransforms = {Transform::logit, Transform::probit, Transform::linear};
[[nodiscard]] std::string_view name_of(Transform transform);

/// h(p): ln(p / (1-p)), the normal quantile, or p. Infinite at 0 and 1 for the first two.
[[nodiscard]] double apply(Transform transform, double p);
[[nodiscard]] double apply_inverse(Transform transform, double z);

/// Quantile and distribution function of the standard normal (Wichura 1988, AS 241; erfc).
[[nodiscard]] double normal_quantile(double p);
[[nodiscard]] double normal_cdf(double z);

/// Least squares y = slope x + intercept on transformed values.
struct Line {
  std::int64_t n = 0;
  double slope = 0, intercept = 0;
  double r2 = 0;  ///< squared Pearson correlation; NaN when y is constant
  double slope_error = 0, intercept_error = 0;  ///< standard errors; NaN for n = 2
};

/// Throws Error for fewer than two points, different lengths or equal x throughout.
[[nodiscard]] Line fit_line(std::span<const double> x, std::span<const double> y);

/// Where the line may lie: sorted bootstrap values 24 and 975 (from 0) of 1000 resamples.
struct LineBand {
  Interval slope, intercept;
  std::vector<Interval> at;  ///< of slope * grid[i] + intercept
};

/// Resamples the points (a resample without two different x is drawn again).
[[nodiscard]] LineBand bootstrap_line(std::span<const double> x, std::span<const double> y,
                                      std::span<const double> grid, int resamples = 1000,
                                      std::uint64_t seed = kBootstrapSeed);

/// beta(x) = h^-1(slope h(x) + intercept): the accuracy expected on the shift.
[[nodiscard]] double expected_accuracy(const Line& line, Transform transform, double acc_id);
/// rho = acc_ood - beta(acc_id), a fraction.
[[nodiscard]] double effective_robustness(const Line& line, Transform transform, double acc_id,
                                          double acc_ood);
/// h(acc_ood) - (slope h(acc_id) + intercept): additive on the plotted axis.
[[nodiscard]] double residual(const Line& line, Transform transform, double acc_id, double acc_ood);
/// tau = acc_ood(model with the intervention) - acc_ood(model without).
[[nodiscard]] double relative_robustness(double acc_ood_after, double acc_ood_before);

/// Which models of a testbed make the baseline.
enum class Baseline {
  standard,  ///< STANDARD models above the axis's threshold
  extended,  ///< those and LOW_ACCURACY_CNN, all class counts complete, without threshold
};
[[nodiscard]] std::string_view name_of(Baseline baseline);

/// Horizontal axis of a shift: all of the reference set, or its classes that the shift has.
enum class ClassAxis { full, restricted };
[[nodiscard]] std::string_view name_of(ClassAxis axis);

/// How the table's columns of one shift are fitted.
struct ShiftRule {
  std::string_view shift;  ///< column of the accuracy on the shift
  ClassAxis axis;
  std::string_view x_column;       ///< column of the accuracy on the reference set
  double min_x;                    ///< models below are not in the standard baseline
  std::optional<double> knee;      ///< two lines, strictly below and strictly above this x
  std::string_view never_include;  ///< a model that built the set: neither fitted nor drawn
};

/// v2, objectnet, sketch, r, a with their full and (where it exists) restricted axis.
[[nodiscard]] std::span<const ShiftRule> shift_rules();
/// Throws UsageError listing the known shifts and axes.
[[nodiscard]] const ShiftRule& find_shift_rule(std::string_view shift, ClassAxis axis);

/// One model on one shift; empty where the table has no number.
struct ModelPoint {
  std::string model;
  std::string type;
  std::optional<double> x;  ///< accuracy on the reference set
  std::optional<double> y;  ///< accuracy on the shift
};

/// Places of the points that the baseline is fitted to: `standard` takes type STANDARD, no "aws",
/// "batch64" or "subsample" in the lower-cased name, x >= rule.min_x. Points without x or y, and
/// those that `transform` cannot place (0 and 1 under logit and probit), are left out.
[[nodiscard]] std::vector<std::size_t> select_baseline(std::span<const ModelPoint> points,
                                                       const ShiftRule& rule, Baseline baseline,
                                                       Transform transform);

/// select_baseline with the standard models.
[[nodiscard]] std::vector<std::size_t> select_standard(std::span<const ModelPoint> points,
                                                       const ShiftRule& rule, Transform transform);

}  // namespace plumbline
