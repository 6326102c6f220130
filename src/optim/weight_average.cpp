// The moving average of the weights: plumbline/optim.h.
#include <algorithm>

#include "plumbline/error.h"
#include "plumbline/optim.h"

namespace plumbline {

WeightAverage::WeightAverage(NamedTensors tensors, const std::vector<std::string>& trained,
                             double decay)
    : tensors_(std::move(tensors)), decay_(decay) {
  require(decay > 0 && decay < 1, str("decay ", decay, " of the average is outside (0, 1)"));
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors_) {
    average_.emplace_back(name, tensor.detach().clone());
    const bool is_trained = std::find(trained.begin(), trained.end(), name) != trained.end();
    auto& [from, to] = is_trained ? averaged_ : copied_;
    from.push_back(tensor.detach());
    to.push_back(average_.back().second);
  }
}

void WeightAverage::update() {
  const at::NoGradGuard no_grad;
  if (!averaged_.to.empty()) at::_foreach_lerp_(averaged_.to, averaged_.from, 1 - decay_);
  for (std::size_t i = 0; i < copied_.to.size(); ++i) copied_.to[i].copy_(copied_.from[i]);
}

void WeightAverage::load(const NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
  for (const auto& [name, target] : average_) {
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&n = name](const auto& entry) { return entry.first == n; });
    if (found == tensors.end() || found->second.sizes() != target.sizes()) {
      throw UsageError(str("the averaged weights have no ", name, " of the model's shape"));
    }
    copies.emplace_back(target, found->second);
  }
  for (auto& [target, source] : copies) target.copy_(source);
}

void WeightAverage::swap() {
  const at::NoGradGuard no_grad;
  for (const Pairs* pairs : {&averaged_, &copied_}) {
    for (std::size_t i = 0; i < pairs->to.size(); ++i) {
      const at::Tensor kept = pairs->from[i].clone();
      at::Tensor model = pairs->from[i], average = pairs->to[i];
      model.copy_(average);
      average.copy_(kept);
    }
  }
}

}  // namespace plumbline
