// Two runs on the same images, from their prediction files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plumbline/stats.h"
#include "report/run.h"

namespace plumbline {

/// The newest evaluations of two runs on one set, over the images that both scored.
struct PairedSet {
  std::string first, second;  ///< runs
  std::string set;
  PairedComparison all;
  double accuracy_first = 0, accuracy_second = 0;
  /// Clusters of the images, from the column `cluster` of the first run's prediction file, else
  /// from keys.txt beside the set's shards; 0 where neither names any. With clusters the bootstrap
  /// draws whole ones and McNemar's test, which takes images as independent, says nothing.
  std::int64_t clusters = 0;
  double holm_p = 1;  ///< mcnemar_p over all comparisons of the report without clusters
  std::vector<std::string> class_names;  ///< of classes with images
  std::vector<std::int64_t> class_n, class_only_first, class_only_second;
};

/// Up to so many runs all pairs are compared, of more each with the first; points of an
/// interpolation curve always with the first.
inline constexpr std::size_t kRunsInPairs = 6;

/// What cannot be compared (no prediction file, other images, other classes) is told in `notes`.
[[nodiscard]] std::vector<PairedSet> compare_runs(const std::vector<Run>& runs,
                                                  std::vector<std::string>& notes);

}  // namespace plumbline
