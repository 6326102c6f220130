// What this host's cores can do, measured in half a second.
#pragma once

#include "plan/device.h"
#include "plan/model_cost.h"

namespace plumbline {

/// A CPU as a rank of `ranks_here` sees it, with `threads` compute threads (0 = all cores).
/// Products are measured at the widths of the model's towers, weighted by their FLOPs.
[[nodiscard]] PlanDevice measure_host(const ModelShape& model, int ranks_here, int threads);

}  // namespace plumbline
