// Checkpoint folders: checkpoints/step-00001000/{model,optimizer-*}.safetensors, state.json and,
// written last, manifest.json. A folder without a valid manifest is not a checkpoint.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plumbline/data.h"
#include "plumbline/model.h"

namespace plumbline {

/// Where a run stands, apart from its tensors.
struct RunProgress {
  std::int64_t step = 0;           ///< optimizer steps done (skipped ones included)
  std::int64_t samples = 0;        ///< pairs seen, globally
  std::int64_t applied_steps = 0;  ///< updates of the optimizer
  std::int64_t skipped_steps = 0;  ///< non-finite steps
  LoaderState loader;
};

/// Everything a checkpoint holds. Tensors on the CPU.
struct Checkpoint {
  NamedTensors model;
  NamedTensors optimizer;  ///< exp_avg.NAME, exp_avg_sq.NAME; empty when only the model is wanted
  NamedTensors ema;        ///< averaged weights under the model's names; empty without train.ema
  RunProgress progress;
  std::string config_yaml;  ///< the resolved run file
  std::string model_json;   ///< the model's configuration
};

/// Names the folder of a step: "step-00001000".
[[nodiscard]] std::string checkpoint_name(std::int64_t step);

/// Writes DIR/step-N completely or not at all, then DIR/latest. Returns the bytes written. Throws
/// Error naming the path and the system's reason (disk full, permission).
std::int64_t write_checkpoint(const std::string& dir, const Checkpoint& checkpoint);

/// What verification found: empty when the folder is complete and intact, else one sentence.
[[nodiscard]] std::string verify_checkpoint(const std::string& folder);

/// Reads a verified folder. Throws DataError naming the file.
[[nodiscard]] Checkpoint read_checkpoint(const std::string& folder, bool with_optimizer = true);

/// Step folders below DIR, newest first, complete or not.
[[nodiscard]] std::vector<std::string> list_checkpoints(const std::string& dir);

/// The newest intact checkpoint below DIR; damaged newer ones are renamed *.corrupt, those that
/// were never completed removed, both told to `report`. None when there is no checkpoint at all.
/// Throws DataError when all are damaged.
[[nodiscard]] std::optional<std::string> newest_checkpoint(
    const std::string& dir, const std::function<void(const std::string&)>& report);

/// Deletes all but the `keep_last` newest and those whose step is a multiple of `keep_every`; also
/// what was never completed, or is kept as *.corrupt, and is older than the newest.
void prune_checkpoints(const std::string& dir, int keep_last, std::int64_t keep_every);

/// A folder, a run folder or checkpoints/ (its newest), or a model file beside its manifest.
[[nodiscard]] std::string resolve_checkpoint(const std::string& path);

}  // namespace plumbline
