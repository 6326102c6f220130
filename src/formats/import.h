// Any file of another program to a model of ours.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plumbline/model.h"
#include "plumbline/optim.h"

namespace plumbline {

struct ImportedModel {
  std::string format;                ///< what the file was
  std::shared_ptr<ClipModel> model;  ///< options().source_json is its configuration
  NamedTensors average;              ///< averaged weights, of all tensors; empty: none
  NamedTensors moments;              ///< as AdamW::state(); empty when the file has none
  OptimizerOptions optimizer;        ///< of the file's groups; else the defaults
  std::int64_t epoch = 0, step = 0, applied_steps = 0, samples = 0;
  std::string tokenizer_name;      ///< what the configuration calls it; empty: CLIP's own
  std::string tokenizer_clean;     ///< how CLIP's own cleans captions; empty: lower
  std::string tokenizer_file;      ///< a sentencepiece model that came with the weights
  std::vector<std::string> notes;  ///< what was adapted or left out, one sentence each
};

/// PATH: an OpenCLIP state dict or training file (.pt, .bin, .pth, .safetensors), a hub folder, a
/// Hugging Face CLIPModel folder, an OpenAI TorchScript archive, a SigLIP .npz.
/// `model` is as read_model() takes it; empty: the configuration that stands in the file. Nothing
/// of the file is ever run. Throws UsageError when the model is not known, or with the full list
/// when names or shapes differ; DataError naming file and byte for a damaged file.
[[nodiscard]] ImportedModel import_model(const std::string& path, const std::string& model);

}  // namespace plumbline
