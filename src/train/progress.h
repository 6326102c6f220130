// state.json of a checkpoint: where a run stands, apart from its tensors.
#pragma once

#include <string>

#include "train/checkpoint.h"

namespace plumbline {

[[nodiscard]] std::string progress_json(const RunProgress& progress);

/// Throws nlohmann::json::exception for what is no such text. Keys that older versions did not
/// write have their first values.
[[nodiscard]] RunProgress parse_progress(const std::string& text);

}  // namespace plumbline
