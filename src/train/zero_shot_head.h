// A classifier that starts as a model of two towers classifies without training: the first end of
// WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903).
#pragma once

#include <string>
#include <vector>

#include "plumbline/communicator.h"
#include "plumbline/model.h"
#include "train/trained_model.h"

namespace plumbline {

/// The tensors of the classifier `classifier` that scores images as `clip` does zero-shot: its
/// image tower and scale, head.weight = the rows of zero_shot_weights, head.bias = 0, so that the
/// logits exp(s) x W^T + b are those of the prompts. A logit bias would move all classes alike and
/// is left out.
///   prompts  of each class of `classifier` (class_prompts)
///   device   where the texts are encoded; `clip` is moved there
/// Collective over `host`: the ranks share the texts. Throws AgreedError when the image towers
/// compute differently.
[[nodiscard]] NamedTensors zero_shot_classifier(
    TrainedModel& clip, const ModelOptions& classifier,
    const std::vector<std::vector<std::string>>& prompts, Communicator& host, at::Device device);

}  // namespace plumbline
