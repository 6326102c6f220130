// Files of OpenCLIP: state dicts, training files, hub folders.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "formats/foreign.h"
#include "plumbline/optim.h"

namespace plumbline {

/// A `.pt`, `.bin` or `.pth` of torch.save: a bare state dict, or a training file with
/// `state_dict`. Throws DataError naming the file and what in it is not understood.
[[nodiscard]] ForeignCheckpoint read_openclip_file(const std::string& path);

/// A `.safetensors` file with OpenCLIP's names.
[[nodiscard]] ForeignCheckpoint read_openclip_safetensors(const std::string& path);

/// A folder with open_clip_config.json; which of its files holds the weights goes by OpenCLIP's
/// order of precedence.
[[nodiscard]] ForeignCheckpoint read_openclip_folder(const std::string& folder);

/// The moments under the names exp_avg.NAME, exp_avg_sq.NAME: the first of OpenCLIP's group rules
/// (openclip3, openclip4; all parameters, or one tower locked) whose group sizes and all shapes
/// fit.
struct FittedOptimizer {
  NamedTensors moments;
  OptimizerOptions options;
  std::int64_t applied_steps = 0;
};
/// Throws UsageError when no rule fits.
[[nodiscard]] FittedOptimizer fit_optimizer(const ForeignOptimizer& optimizer,
                                            const std::vector<TensorShape>& tensors,
                                            const std::string& where);

/// What is exported.
struct ExportedModel {
  NamedTensors tensors;  ///< under OpenCLIP's names, float32
  ModelOptions options;  ///< source_json is what becomes the configuration
  PreprocessOptions preprocess;
  bool clip_tokenizer = true;
  std::string clean;  ///< of the tokenizer: empty is lower
};

/// open_clip_config.json and open_clip_model.safetensors into an existing folder.
void write_openclip_folder(const std::string& folder, const ExportedModel& model);

/// A training file that OpenCLIP's `--resume` goes on from.
struct TrainingState {
  std::string name;
  NamedTensors moments;  ///< as AdamW::state()
  NamedTensors average;  ///< averaged weights, which become state_dict_ema; empty: none
  OptimizerOptions optimizer;
  std::int64_t epoch = 0, step = 0, applied_steps = 0, samples = 0;
};
/// Throws UsageError when there are no moments.
void write_openclip_training(const std::string& path, const ExportedModel& model,
                             const TrainingState& state);

/// The doubles with the fewest digits that read back as these floats.
[[nodiscard]] std::vector<double> shortest_doubles(const std::array<float, 3>& values);

}  // namespace plumbline
