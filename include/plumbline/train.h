// Training: from a run file to checkpoints.
#pragma once

#include <string>
#include <vector>

#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {

struct RunConfig;

struct TrainRequest {
  std::string resume = "auto";            ///< auto | never | a checkpoint
  std::vector<std::string> command_line;  ///< for environment.json
};

/// Runs `config` to its end, or until a signal. Collective over `ranks.host`; fills `ranks.device`
/// on a GPU. Returns `done`, or `resumable` after a signal (a checkpoint was written). Throws Error
/// otherwise, on all ranks alike.
[[nodiscard]] ExitCode train(const RunConfig& config, const TrainRequest& request, Ranks& ranks);

}  // namespace plumbline
