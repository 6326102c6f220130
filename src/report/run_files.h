// The readers of single files of a run folder, used by run.cpp.
#pragma once

#include <string>

#include "report/run.h"

namespace plumbline {

/// FOLDER/results.json. Throws DataError naming the file and what is wrong in it.
[[nodiscard]] Evaluation read_evaluation(const std::string& folder);

/// metrics.jsonl. Lines that are no JSON object (a crash tears the last one) are left out and named
/// in `notes`.
[[nodiscard]] Curves read_curves(const std::string& path, std::vector<std::string>& notes);

}  // namespace plumbline
