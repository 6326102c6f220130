// Eval mode for the time of an evaluation.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <utility>
#include <vector>

namespace plumbline {

/// Puts a module and its children into eval mode and gives each its own mode back: a locked tower
/// is in eval mode inside a model that trains.
class EvalMode {
 public:
  explicit EvalMode(torch::nn::Module& module) : module_(module), training_(module.is_training()) {
    for (const auto& child : module.modules(/*include_self=*/false)) {
      children_.emplace_back(child, child->is_training());
    }
    module.eval();
  }
  ~EvalMode() {
    module_.train(training_);
    // Parents stand before their children, whose own mode is set last.
    for (const auto& [child, training] : children_) child->train(training);
  }
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  torch::nn::Module& module_;
  bool training_;
  std::vector<std::pair<std::shared_ptr<torch::nn::Module>, bool>> children_;
};

}  // namespace plumbline
