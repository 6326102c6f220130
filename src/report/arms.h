// Arms of a study against each other: models that differ by the seed alone make one arm.
#pragma once

#include <string>
#include <vector>

#include "plumbline/stats.h"
#include "report/panels.h"

namespace plumbline {

/// The run's name without a trailing seed: "mix-50-seed3", "mix-50_s3" and "mix-50.seed=3" are of
/// the arm "mix-50".
[[nodiscard]] std::string arm_of(const std::string& run);

/// One measure of two arms on one panel.
struct ArmContrast {
  std::string x, y;  ///< of the panel
  ClassAxis axis = ClassAxis::full;
  std::string metric;
  std::string measure;              ///< reference | shift | effective_robustness | residual
  std::string transform, baseline;  ///< of the last two measures; empty for accuracies
  std::string first, second;        ///< arms
  Contrast contrast;
  double margin = 0;  ///< of `verdict`
  Verdict verdict = Verdict::not_resolved;
  std::optional<std::int64_t> models_needed;  ///< an arm, where the verdict is not_resolved
};

/// Up to so many arms all pairs are compared, of more each with the first.
inline constexpr std::size_t kArmsInPairs = 12;

/// Of every panel on which some arm has two models; arms in the order of their first point.
[[nodiscard]] std::vector<ArmContrast> contrast_arms(const std::vector<Panel>& panels);

}  // namespace plumbline
