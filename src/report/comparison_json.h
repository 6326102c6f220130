// Comparisons of runs and of arms, as fits.json and the page hold them. Included only where files
// are written.
#pragma once

#include "report/arms.h"
#include "report/json_values.h"
#include "report/paired.h"

namespace plumbline {

/// With the lists by class, which the page shows and fits.json leaves to the prediction files.
[[nodiscard]] Json paired_to_json(const PairedSet& pair, bool with_classes);
[[nodiscard]] Json contrast_to_json(const ArmContrast& contrast);

}  // namespace plumbline
