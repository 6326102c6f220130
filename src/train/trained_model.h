// A checkpoint opened for use: model, tokenizer and preprocessing as it was trained.
#pragma once

#include <memory>
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
  std::string folder;
};

/// PATH as resolve_checkpoint takes it. Throws DataError for a damaged checkpoint.
[[nodiscard]] TrainedModel open_checkpoint(const std::string& path);

}  // namespace plumbline
