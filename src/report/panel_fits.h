// The lines of one panel.
#pragma once

#include "report/panels.h"

namespace plumbline {

/// Fits the baselines (from points of source "baseline", and from supervised runs) and each run's
/// line through its
/// checkpoints, under every transform; then fills the departures of all points.
void fit_panel(Panel& panel, std::vector<std::string>& notes);

}  // namespace plumbline
