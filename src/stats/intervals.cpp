// Intervals of accuracies and comparisons of two models on the same images.
#include <algorithm>
#include <cmath>
#include <map>

#include "plumbline/error.h"
#include "plumbline/stats.h"
#include "stats/distributions.h"
#include "stats/resample.h"

namespace plumbline {

Interval clopper_pearson(double successes, double trials, double alpha) {
  // An accuracy times n may exceed n by the rounding of the product.
  if (successes > trials && successes <= trials * (1 + 1e-12)) successes = trials;
  if (!(trials > 0 && successes >= 0 && successes <= trials && alpha > 0 && alpha < 1)) {
    throw Error(str("no binomial interval for ", successes, " of ", trials, " at alpha ", alpha));
  }
  const double failures = trials - successes;
  Interval interval;
  interval.lo = successes == 0 ? 0 : beta_quantile(successes, failures + 1, alpha / 2, false);
  interval.hi = failures == 0 ? 1 : beta_quantile(successes + 1, failures, alpha / 2, true);
  return interval;
}

Interval mean_recall_interval(std::span<const std::int64_t> correct,
                              std::span<const std::int64_t> total, double alpha) {
  require(correct.size() == total.size(), "mean_recall_interval: one total for each class");
  double classes = 0, recall_sum = 0, inverse_sum = 0, variance_sum = 0;
  for (std::size_t c = 0; c < total.size(); ++c) {
    if (total[c] == 0) continue;
    const auto n = static_cast<double>(total[c]);
    const double recall = static_cast<double>(correct[c]) / n;
    classes += 1;
    recall_sum += recall;
    inverse_sum += 1 / n;
    variance_sum += recall * (1 - recall) / n;
  }
  if (classes == 0) throw Error("no interval of the mean recall: every class is empty");
  const double mean = recall_sum / classes;
  double effective = classes * classes / inverse_sum;
  if (variance_sum > 0) {
    effective = std::min(effective, mean * (1 - mean) * classes * classes / variance_sum);
  }
  return clopper_pearson(mean * effective, effective, alpha);
}

double mcnemar_exact(std::int64_t only_first, std::int64_t only_second) {
  require(only_first >= 0 && only_second >= 0, "mcnemar_exact: counts are not negative");
  const std::int64_t n = only_first + only_second;
  const std::int64_t few = std::min(only_first, only_second);
  if (2 * few == n) return 1;
  // P[Binomial(n, 1/2) <= k] = I_{1/2}(n - k, k + 1).
  const Tails tails =
      beta_tails(static_cast<long double>(n - few), static_cast<long double>(few + 1), 0.5L);
  return std::min(1.0, static_cast<double>(2 * tails.lower));
}

namespace {

struct Cluster {
  double sum = 0;
  double rows = 0;
};

std::vector<Cluster> group(std::span<const double> values, std::span<const std::int64_t> cluster) {
  std::vector<Cluster> groups;
  std::map<std::int64_t, std::size_t> place;
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::size_t at = i;
    if (!cluster.empty()) at = place.try_emplace(cluster[i], groups.size()).first->second;
    if (at >= groups.size()) groups.resize(at + 1);
    groups[at].sum += values[i];
    groups[at].rows += 1;
  }
  return groups;
}

}  // namespace

Interval bootstrap_mean(std::span<const double> values, std::span<const std::int64_t> cluster,
                        int resamples, std::uint64_t seed) {
  if (values.empty()) throw Error("no bootstrap of an empty sample");
  if (!cluster.empty() && cluster.size() != values.size()) {
    throw Error(str("bootstrap: ", cluster.size(), " cluster labels for ", values.size(), " rows"));
  }
  const std::vector<Cluster> groups = group(values, cluster);
  std::vector<double> means;
  means.reserve(static_cast<std::size_t>(resamples));
  for (int r = 0; r < resamples; ++r) {
    Resample draw(seed, static_cast<std::uint64_t>(r), groups.size());
    Cluster all;
    for (std::size_t i = 0; i < groups.size(); ++i) {
      const Cluster& g = groups[draw.next()];
      all.sum += g.sum;
      all.rows += g.rows;
    }
    means.push_back(all.sum / all.rows);
  }
  return percentile_interval(means);
}

PairedComparison compare_paired(std::span<const std::uint8_t> first,
                                std::span<const std::uint8_t> second,
                                std::span<const std::int64_t> cluster, int resamples,
                                std::uint64_t seed) {
  if (first.size() != second.size() || first.empty()) {
    throw Error(str("no paired comparison of ", first.size(), " with ", second.size(), " images"));
  }
  PairedComparison result;
  result.n = std::ssize(first);
  std::vector<double> gain(first.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    gain[i] = (second[i] != 0 ? 1.0 : 0.0) - (first[i] != 0 ? 1.0 : 0.0);
    if (gain[i] < 0) ++result.only_first;
    if (gain[i] > 0) ++result.only_second;
  }
  result.difference =
      static_cast<double>(result.only_second - result.only_first) / static_cast<double>(result.n);
  result.ci95 = bootstrap_mean(gain, cluster, resamples, seed);
  result.mcnemar_p = mcnemar_exact(result.only_first, result.only_second);
  return result;
}

}  // namespace plumbline
