// From a run file to what a plan is computed from.
#pragma once

#include "plan/plan.h"
#include "train/run_config.h"

namespace plumbline {

/// Sizes of the resolved model as the run trains it; parameters are counted from its tensors.
[[nodiscard]] ModelShape model_shape(const RunConfig& config);

/// What the run file says, for `world` ranks on `device`. `steps` needs `epoch_samples` only where
/// the run is given in epochs.
[[nodiscard]] PlanInput plan_input(const RunConfig& config, int world, const PlanDevice& device,
                                   std::int64_t epoch_samples);

}  // namespace plumbline
