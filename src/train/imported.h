// Checkpoints that `plumbline import` made: they do not say where in the data their run stood.
#pragma once

#include <string>
#include <vector>

#include "plumbline/model.h"
#include "train/checkpoint.h"
#include "train/run_config.h"

namespace plumbline {

/// Whether the checkpoint is one of another program: its data order is not known.
[[nodiscard]] bool is_imported(const Checkpoint& checkpoint);

/// Makes an imported checkpoint one that this run can go on from: samples = step * global_batch,
/// and this run's own data order goes on at that position. Returns what to tell in the log: that,
/// and every setting of the optimizer that differs from the imported run's. Throws UsageError for
/// a checkpoint that has weights alone. `folder` is for messages.
[[nodiscard]] std::vector<std::string> place_imported(Checkpoint& checkpoint,
                                                      const RunConfig& config,
                                                      const std::string& folder);

/// Throws UsageError when the activations of the checkpoint's model are not those of `options`: the
/// weights fit all the same, and every feature would be wrong.
void check_activations(const Checkpoint& checkpoint, const ModelOptions& options,
                       const std::string& folder);

}  // namespace plumbline
