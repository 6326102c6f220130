// Classifier rows from prompts, remembered between the sets of a suite: five of the ImageNet sets
// share their 80,000 texts.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "plumbline/eval.h"

namespace plumbline {

class Classifiers {
 public:
  explicit Classifiers(EvalContext& context) : context_(context) {}
  /// As zero_shot_weights. Collective.
  [[nodiscard]] at::Tensor weights(const std::vector<std::vector<std::string>>& prompts);

 private:
  using Prompts = std::vector<std::string>;
  void encode_missing(const std::vector<Prompts>& missing);
  [[nodiscard]] at::Tensor encode_classes(const std::vector<Prompts>& classes, std::size_t first,
                                          std::size_t last);

  EvalContext& context_;
  std::map<Prompts, at::Tensor> rows_;  ///< [embed_dim] on the CPU
};

}  // namespace plumbline
