// A checkpoint opened for use: model, tokenizer and preprocessing as it was trained.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "plumbline/model.h"
#include "plumbline/tokenizer.h"
#include "train/checkpoint.h"

namespace plumbline {

struct TrainedModel {
  std::shared_ptr<ClipModel> model;  ///< in eval mode, on the CPU
  std::unique_ptr<Tokenizer> tokenizer;
  PreprocessOptions preprocess;
  RunProgress progress;
  std::optional<double> ema;  ///< decay of the average, when the weights are averaged ones
  std::string folder;
};

/// PATH as resolve_checkpoint takes it. Of a run with train.ema the averaged weights are taken, but
/// for a PATH that is its model.safetensors; model_ema.safetensors names them explicitly. Throws
/// DataError for a damaged checkpoint.
[[nodiscard]] TrainedModel open_checkpoint(const std::string& path);

}  // namespace plumbline
