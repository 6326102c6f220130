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
#include "train/guard.h"
#include "train/moments.h"

namespace plumbline {

/// Where a run stands, apart from its tensors.
struct RunProgress {
  std::int64_t step = 0;           ///< optimizer steps done (skipped ones included)
  std::int64_t samples = 0;        ///< pairs seen, globally
  std::int64_t applied_steps = 0;  ///< updates of the optimizer
  std::int64_t skipped_steps = 0;  ///< non-finite steps
  LoaderState loader;
  GuardState guard;
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

// The same by several ranks: rank 0 clears the folder; then each rank writes its files, the moments
// that it keeps and, on rank 0, all the rest; when all have written, rank 0 completes it.

/// A written file as the manifest names it.
struct CheckpointFile {
  std::string name;
  std::int64_t bytes = 0;
  std::string xxh3_64;
};

/// Makes an empty DIR/step-N; an older one of this step is gone. Returns its path. Throws Error.
std::string clear_checkpoint(const std::string& dir, std::int64_t step);
/// Writes `moments` (nothing when empty) as the file of this rank. Throws Error.
[[nodiscard]] std::vector<CheckpointFile> write_moments(const std::string& folder,
                                                        const Moments& moments, int rank,
                                                        int world);
/// Writes model, average and state; not checkpoint.optimizer. Throws Error.
[[nodiscard]] std::vector<CheckpointFile> write_model(const std::string& folder,
                                                      const Checkpoint& checkpoint);
/// What the manifest says besides the files.
struct CheckpointTitle {
  std::int64_t step = 0, samples = 0;
  std::string config_yaml, model_json;
};
/// Writes the manifest, then DIR/latest. Returns the bytes of the files. Throws Error.
std::int64_t complete_checkpoint(const std::string& dir, const CheckpointTitle& title,
                                 const std::vector<CheckpointFile>& files);
/// Removes what a failed write has left.
void discard_checkpoint(const std::string& dir, std::int64_t step);

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

/// The step of a folder's name.
[[nodiscard]] std::int64_t step_of_checkpoint(const std::string& folder);

/// The checkpoint with the highest value of a metric, kept as DIR/best.json.
struct BestCheckpoint {
  std::string metric;
  double value = 0;
  std::int64_t step = -1;
};
/// None when there is no file, or none of this metric.
[[nodiscard]] std::optional<BestCheckpoint> read_best(const std::string& dir,
                                                      const std::string& metric);
void write_best(const std::string& dir, const BestCheckpoint& best);

/// Deletes all but the `keep_last` newest, those whose step is a multiple of `keep_every`, and that
/// of `keep_step`; also what was never completed, or is kept as *.corrupt, and is older than the
/// newest.
void prune_checkpoints(const std::string& dir, int keep_last, std::int64_t keep_every,
                       std::int64_t keep_step = -1);

/// A folder, a run folder or checkpoints/ (its newest), or a model file beside its manifest.
[[nodiscard]] std::string resolve_checkpoint(const std::string& path);

}  // namespace plumbline
