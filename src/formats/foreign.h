// What a file of another program holds, before any model is built: one struct for all formats.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plumbline/model.h"

namespace plumbline {

/// The optimizer's state under the indices of torch.optim.
struct ForeignOptimizer {
  struct Group {
    std::vector<std::int64_t> parameters;
    double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  };
  struct Moments {
    double step = 0;
    at::Tensor exp_avg, exp_avg_sq;
  };
  std::vector<Group> groups;
  std::map<std::int64_t, Moments> state;
};

struct ForeignCheckpoint {
  std::string format;    ///< for messages: "OpenCLIP training file"
  NamedTensors tensors;  ///< under OpenCLIP's names, any float dtype
  NamedTensors average;  ///< averaged weights beside them; empty: none
  std::string model;     ///< configuration in OpenCLIP's schema, or a hub file; empty: not told
  bool preprocess_told = false;  ///< `model` holds a preprocess_cfg
  std::string tokenizer_file;    ///< a sentencepiece model that came with it
  std::optional<ForeignOptimizer> optimizer;
  std::int64_t epoch = 0, step = -1, samples = 0;  ///< step -1: not told
  std::vector<std::string> notes;
};

}  // namespace plumbline
