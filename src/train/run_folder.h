// The run folder: created before the first step, so that an unwritable one stops the run at once.
#pragma once

#include <string>
#include <vector>

#include "plumbline/communicator.h"
#include "train/run_config.h"

namespace plumbline {

struct RunFolder {
  std::string root;
  bool is_new = false;  ///< made by this command
  [[nodiscard]] std::string checkpoints() const { return root + "/checkpoints"; }
  [[nodiscard]] std::string log(int rank) const;
  [[nodiscard]] std::string metrics() const { return root + "/metrics.jsonl"; }
  [[nodiscard]] std::string events() const { return root + "/events.jsonl"; }
  [[nodiscard]] std::string evaluation(std::int64_t step) const;
};

/// Creates the folders. Throws Error naming the path and the system's reason.
[[nodiscard]] RunFolder make_run_folder(const RunConfig& config, Communicator& ranks);

/// Removes a folder that this command made and that holds nothing but its empty logs: a refused
/// command leaves nothing behind. Collective; the logs must be closed.
void forget_run_folder(const RunFolder& folder, Communicator& ranks);

/// Rank 0 writes config.yaml and environment.json. Called when nothing can be refused any more, so
/// that a refused command leaves an older run's files alone. Collective.
void describe_run(const RunFolder& folder, const RunConfig& config, Communicator& ranks,
                  const std::vector<std::string>& command_line);

}  // namespace plumbline
