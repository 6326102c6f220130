// Transforms of accuracies, the least-squares line, and what is measured from it.
#include <cmath>
#include <limits>

#include "plumbline/error.h"
#include "plumbline/stats.h"
#include "stats/resample.h"

namespace plumbline {

std::string_view name_of(Transform transform) {
  switch (transform) {
    case Transform::logit:
      return "logit";
    case Transform::probit:
      return "probit";
    case Transform::linear:
      return "linear";
  }
  return "";
}

double apply(Transform transform, double p) {
  switch (transform) {
    case Transform::logit:
      return std::log(p) - std::log1p(-p);
    case Transform::probit:
      return normal_quantile(p);
    case Transform::linear:
      break;
  }
  return p;
}

double apply_inverse(Transform transform, double z) {
  switch (transform) {
    case Transform::logit:
      return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z));
    case Transform::probit:
      return normal_cdf(z);
    case Transform::linear:
      break;
  }
  return z;
}

namespace {

/// Sums around the means; `weight` counts how often a resample drew each point.
struct Moments {
  double n = 0, mean_x = 0, mean_y = 0, xx = 0, xy = 0, yy = 0;
};

Moments moments(std::span<const double> x, std::span<const double> y,
                std::span<const double> weight) {
  Moments m;
  const auto w = [&](std::size_t i) { return weight.empty() ? 1.0 : weight[i]; };
  for (std::size_t i = 0; i < x.size(); ++i) {
    m.n += w(i);
    m.mean_x += w(i) * x[i];
    m.mean_y += w(i) * y[i];
  }
  m.mean_x /= m.n;
  m.mean_y /= m.n;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double dx = x[i] - m.mean_x, dy = y[i] - m.mean_y;
    m.xx += w(i) * dx * dx;
    m.xy += w(i) * dx * dy;
    m.yy += w(i) * dy * dy;
  }
  return m;
}

/// One point drawn many times leaves a sum of squares at the size of rounding.
bool has_slope(const Moments& m) { return m.xx > 1e-24 * m.n * (1 + m.mean_x * m.mean_x); }

}  // namespace

Line fit_line(std::span<const double> x, std::span<const double> y) {
  if (x.size() != y.size() || x.size() < 2) {
    throw Error(str("no line through ", x.size(), " x and ", y.size(), " y values"));
  }
  const Moments m = moments(x, y, {});
  if (!has_slope(m)) throw Error(str("no line: all ", x.size(), " x are ", m.mean_x));
  Line line;
  line.n = std::ssize(x);
  line.slope = m.xy / m.xx;
  line.intercept = m.mean_y - line.slope * m.mean_x;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  line.r2 = m.yy > 0 ? m.xy * m.xy / (m.xx * m.yy) : nan;
  double squares = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double miss = (y[i] - m.mean_y) - line.slope * (x[i] - m.mean_x);
    squares += miss * miss;
  }
  const double variance = line.n > 2 ? squares / static_cast<double>(line.n - 2) : nan;
  line.slope_error = std::sqrt(variance / m.xx);
  line.intercept_error = std::sqrt(variance * (1 / m.n + m.mean_x * m.mean_x / m.xx));
  return line;
}

LineBand bootstrap_line(std::span<const double> x, std::span<const double> y,
                        std::span<const double> grid, int resamples, std::uint64_t seed) {
  (void)fit_line(x, y);  // refuses what has no line, so that a drawable resample exists
  std::vector<double> slopes, intercepts;
  for (std::uint64_t r = 0; std::ssize(slopes) < resamples; ++r) {
    std::vector<double> weight(x.size(), 0.0);
    Resample draw(seed, r, x.size());
    for (std::size_t i = 0; i < x.size(); ++i) weight[draw.next()] += 1;
    const Moments m = moments(x, y, weight);
    if (!has_slope(m)) continue;
    slopes.push_back(m.xy / m.xx);
    intercepts.push_back(m.mean_y - slopes.back() * m.mean_x);
  }
  LineBand band;
  std::vector<double> values(slopes.size());
  for (const double at : grid) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = slopes[i] * at + intercepts[i];
    band.at.push_back(percentile_interval(values));
  }
  band.slope = percentile_interval(slopes);
  band.intercept = percentile_interval(intercepts);
  return band;
}

double expected_accuracy(const Line& line, Transform transform, double acc_id) {
  return apply_inverse(transform, line.slope * apply(transform, acc_id) + line.intercept);
}

double effective_robustness(const Line& line, Transform transform, double acc_id, double acc_ood) {
  return acc_ood - expected_accuracy(line, transform, acc_id);
}

double residual(const Line& line, Transform transform, double acc_id, double acc_ood) {
  return apply(transform, acc_ood) - (line.slope * apply(transform, acc_id) + line.intercept);
}

double relative_robustness(double acc_ood_after, double acc_ood_before) {
  return acc_ood_after - acc_ood_before;
}

}  // namespace plumbline
