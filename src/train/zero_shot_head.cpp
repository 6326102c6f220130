#include "train/zero_shot_head.h"

#include <map>
#include <utility>

#include "dist/agree.h"
#include "plumbline/error.h"
#include "plumbline/eval.h"

namespace plumbline {
namespace {

/// What the shapes of the tensors do not show.
void check_image_towers(const ModelOptions& clip, const ModelOptions& classifier,
                        const std::string& where) {
  const VisionOptions &a = clip.vision, &b = classifier.vision;
  const auto compare = [&](const char* what, const auto& was, const auto& is) {
    if (was == is) return;
    throw UsageError(plumbline::str("the image tower of ", where, " has ", what, " ", was,
                                    ", that of the classifier ", classifier.name, " has ", is));
  };
  compare("the activation", a.activation, b.activation);
  compare("head_width", a.head_width, b.head_width);
  compare("pool_type", a.pool_type, b.pool_type);
  compare("norm_eps", a.norm_eps, b.norm_eps);
  compare("image height", a.image_height, b.image_height);
  compare("image width", a.image_width, b.image_width);
}

}  // namespace

NamedTensors zero_shot_classifier(TrainedModel& clip, const ModelOptions& classifier,
                                  const std::vector<std::vector<std::string>>& prompts,
                                  Communicator& host, at::Device device) {
  agree(host, [&] {
    check_image_towers(clip.model->options(), classifier, clip.folder);
    clip.model->to(device);
  });
  EvalContext context{*clip.model, *clip.tokenizer, clip.preprocess, host, device};
  const at::Tensor rows_CD = zero_shot_weights(prompts, context).to(at::kCPU);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : clip.model->state_dict()) {
    tensors.emplace(name, tensor.to(at::kCPU));
  }
  tensors["head.weight"] = rows_CD;
  tensors["head.bias"] = at::zeros({rows_CD.size(0)});
  NamedTensors start;
  for (const TensorShape& tensor : tensor_shapes(classifier)) {
    const auto found = tensors.find(tensor.name);
    if (found != tensors.end()) start.emplace_back(tensor.name, found->second);
  }
  return start;
}

}  // namespace plumbline
