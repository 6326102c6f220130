// Groups of models against each other, and what may be said of the difference.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "plumbline/error.h"
#include "plumbline/stats.h"
#include "stats/distributions.h"

namespace plumbline {
namespace {

struct Moments {
  double n = 0, mean = 0, variance = 0;  ///< variance: of the sample, n - 1
};

Moments moments(std::span<const double> values) {
  Moments m;
  m.n = static_cast<double>(values.size());
  m.mean = std::accumulate(values.begin(), values.end(), 0.0) / m.n;
  for (const double v : values) m.variance += (v - m.mean) * (v - m.mean);
  m.variance = m.n > 1 ? m.variance / (m.n - 1) : 0;
  return m;
}

}  // namespace

std::vector<double> holm_adjusted(std::span<const double> p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size());
  double largest = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double scaled = p_values[order[i]] * static_cast<double>(order.size() - i);
    largest = std::max(largest, std::min(1.0, scaled));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

double t_two_sided(double t, double freedom) {
  if (!(freedom > 0)) throw Error(str("no t distribution with ", freedom, " degrees of freedom"));
  // P[|T| > t] = I_x(freedom/2, 1/2) with x = freedom / (freedom + t^2).
  const auto square = static_cast<long double>(t) * static_cast<long double>(t);
  const auto nu = static_cast<long double>(freedom);
  if (square == 0) return 1;
  return static_cast<double>(beta_tails(nu / 2, 0.5L, nu / (nu + square)).lower);
}

double t_quantile(double p, double freedom) {
  if (!(p > 0 && p < 1 && freedom > 0)) {
    throw Error(str("no t quantile at ", p, " with ", freedom, " degrees of freedom"));
  }
  if (p == 0.5) return 0;
  // Y = T^2 / (freedom + T^2) is Beta(1/2, freedom/2), and 1 - Y is Beta(freedom/2, 1/2): near the
  // median Y is the small one, in the tails 1 - Y.
  const double tail = 2 * std::min(p, 1 - p);
  const double rest = beta_quantile(freedom / 2, 0.5, tail, false);
  const double share = beta_quantile(0.5, freedom / 2, tail, true);
  const double t = rest < 0.5 ? std::sqrt(freedom * (1 - rest) / rest)
                              : std::sqrt(freedom * share / (1 - share));
  return p < 0.5 ? -t : t;
}

Contrast contrast_means(std::span<const double> first, std::span<const double> second) {
  if (first.empty() || second.empty()) throw Error("no contrast with an empty group of models");
  const Moments a = moments(first), b = moments(second);
  Contrast contrast;
  contrast.n_first = std::ssize(first);
  contrast.n_second = std::ssize(second);
  contrast.mean_first = a.mean;
  contrast.mean_second = b.mean;
  contrast.difference = b.mean - a.mean;
  if (first.size() < 2 || second.size() < 2) return contrast;
  const double va = a.variance / a.n, vb = b.variance / b.n, error = std::sqrt(va + vb);
  if (error == 0) {
    contrast.ci95 = {contrast.difference, contrast.difference};
    contrast.p = contrast.difference == 0 ? 1.0 : 0.0;
    return contrast;
  }
  // Welch and Satterthwaite.
  const double freedom = (va + vb) * (va + vb) / (va * va / (a.n - 1) + vb * vb / (b.n - 1));
  const double half = t_quantile(0.975, freedom) * error;
  contrast.ci95 = {contrast.difference - half, contrast.difference + half};
  contrast.p = t_two_sided(contrast.difference / error, freedom);
  return contrast;
}

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::effect:
      return "effect";
    case Verdict::no_effect:
      return "no effect";
    case Verdict::not_resolved:
      return "not resolved";
  }
  return "";
}

Verdict judge(const std::optional<Interval>& ci95, double margin) {
  if (!ci95) return Verdict::not_resolved;
  if (ci95->lo > 0 || ci95->hi < 0) return Verdict::effect;
  return ci95->lo >= -margin && ci95->hi <= margin ? Verdict::no_effect : Verdict::not_resolved;
}

std::optional<std::int64_t> models_needed(const Contrast& contrast, double margin) {
  if (!contrast.ci95) return std::nullopt;
  const double half = (contrast.ci95->hi - contrast.ci95->lo) / 2;
  const auto most = static_cast<double>(std::max(contrast.n_first, contrast.n_second));
  return static_cast<std::int64_t>(std::ceil(most * (half / margin) * (half / margin)));
}

}  // namespace plumbline
