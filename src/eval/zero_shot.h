// Classifier rows from prompts, remembered between the sets of a suite (five of the ImageNet sets
// share their 80,000 texts) and, where the context names a folder, between evaluations.
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
  void add_missing(const std::vector<Prompts>& missing);
  [[nodiscard]] std::string encode_all(const std::vector<Prompts>& classes);
  [[nodiscard]] std::string find_cached(const std::vector<Prompts>& classes);
  void keep_cached(const std::string& rows);
  [[nodiscard]] std::string content_key(const std::vector<Prompts>& classes);
  [[nodiscard]] at::Tensor encode_classes(const std::vector<Prompts>& classes, std::size_t first,
                                          std::size_t last);

  EvalContext& context_;
  std::map<Prompts, at::Tensor> rows_;  ///< [embed_dim] on the CPU
  std::string model_key_;               ///< rank 0: describe_text_model, once asked for
  std::string key_;                     ///< rank 0: of the classes last asked of the cache
};

}  // namespace plumbline
