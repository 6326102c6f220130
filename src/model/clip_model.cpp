// The model itself: two towers (or one and a head), the scale, and the list of their tensors.
#include <algorithm>

#include "model/image_tower.h"
#include "model/text_tower.h"
#include "plumbline/error.h"
#include "plumbline/model.h"

namespace plumbline {
namespace {

std::unique_ptr<ImageTower> declare_image_tower(Weights& weights, const ModelOptions& options) {
  const VisionOptions& vision = options.vision;
  if (!vision.siglip_trunk.empty()) return declare_siglip_trunk(weights, vision);
  if (!vision.resnet_layers.empty()) return declare_resnet(weights, vision, options.embed_dim);
  return declare_vit(weights, vision, options.embed_dim);
}

/// Hangs a tensor into the tree of modules along the dots of its name, as torch.nn does.
void hang(torch::nn::Module& root, const Weights::Entry& entry) {
  torch::nn::Module* module = &root;
  std::shared_ptr<torch::nn::Module> child;
  std::size_t begin = 0;
  for (std::size_t dot; (dot = entry.name.find('.', begin)) != std::string::npos; begin = dot + 1) {
    const std::string part = entry.name.substr(begin, dot - begin);
    const auto children = module->named_children();
    const auto* known = children.find(part);
    child = known ? *known : module->register_module(part, std::make_shared<torch::nn::Module>());
    module = child.get();
  }
  const std::string leaf = entry.name.substr(begin);
  if (entry.parameter) {
    module->register_parameter(leaf, entry.tensor);
  } else {
    module->register_buffer(leaf, entry.tensor);
  }
}

/// f / max(|f|, 1e-12).
at::Tensor unit_rows(const at::Tensor& features_BD) {
  return features_BD / features_BD.norm(2, {-1}, true).clamp_min(1e-12);
}

class Towers final : public ClipModel {
 public:
  Towers(const ModelOptions& options, Weights& weights);
  at::Tensor encode_image(const at::Tensor& pixels_BCHW, bool normalize) override;
  at::Tensor encode_text(const at::Tensor& tokens_BL, bool normalize) override;
  at::Tensor class_logits(const at::Tensor& image_BD) override;
  at::Tensor& logit_scale() override { return logit_scale_; }
  at::Tensor& logit_bias() override { return logit_bias_; }
  [[nodiscard]] const ModelOptions& options() const override { return options_; }
  using ClipModel::to;
  void to(torch::Dtype type, bool non_blocking) override;
  void to(torch::Device device, torch::Dtype type, bool non_blocking) override;

 private:
  void restore_counters();
  void declare_scale(Weights& weights);
  void declare_head(Weights& weights);

  ModelOptions options_;
  at::Tensor logit_scale_, logit_bias_;
  std::unique_ptr<ImageTower> image_;
  TextTower text_;  ///< without tensors in a classifier
  at::Tensor head_CD_, head_C_;
};

Towers::Towers(const ModelOptions& options, Weights& weights)
    : options_(options), text_(options.text, options.embed_dim) {
  if (is_classifier()) {
    declare_scale(weights);
    image_ = declare_image_tower(weights, options);
    declare_head(weights);
  } else if (options.custom_text) {
    declare_scale(weights);
    image_ = declare_image_tower(weights, options);
    text_.declare_own(weights, "text.");
    text_.declare_parts(weights, "text.", true);
  } else {
    text_.declare_own(weights, "");
    declare_scale(weights);
    image_ = declare_image_tower(weights, options);
    text_.declare_parts(weights, "", false);
  }
  for (const Weights::Entry& entry : weights.entries()) {
    tensors_.emplace_back(entry.name, entry.tensor);
    hang(*this, entry);
  }
}

void Towers::declare_head(Weights& weights) {
  const auto classes = static_cast<std::int64_t>(options_.class_names.size());
  const std::int64_t D = options_.embed_dim;
  head_CD_ = weights.parameter("head.weight", {classes, D}, torch_default(D));
  head_C_ = weights.parameter("head.bias", {classes}, constant(0));
}

void Towers::declare_scale(Weights& weights) {
  const auto declare = [&](const char* name, double value) {
    return options_.nonscalar_logit_scale ? weights.parameter(name, {1}, constant(value))
                                          : weights.parameter(name, {}, constant(value));
  };
  logit_scale_ = declare("logit_scale", options_.init_logit_scale);
  if (options_.init_logit_bias) logit_bias_ = declare("logit_bias", *options_.init_logit_bias);
}

void Towers::to(torch::Dtype type, bool non_blocking) {
  ClipModel::to(type, non_blocking);
  restore_counters();
}

void Towers::to(torch::Device device, torch::Dtype type, bool non_blocking) {
  ClipModel::to(device, type, non_blocking);
  restore_counters();
}

/// torch.nn in C++ converts integer buffers along with the floating ones.
void Towers::restore_counters() {
  for (auto& [name, tensor] : tensors_) {
    if (name.ends_with("num_batches_tracked")) tensor.set_data(tensor.to(at::kLong));
  }
}

at::Tensor Towers::encode_image(const at::Tensor& pixels_BCHW, bool normalize) {
  const VisionOptions& v = options_.vision;
  if (pixels_BCHW.dim() != 4 || pixels_BCHW.size(1) != 3 || pixels_BCHW.size(2) != v.image_height ||
      pixels_BCHW.size(3) != v.image_width) {
    throw Error(plumbline::str("the model takes pixels [B, 3, ", v.image_height, ", ",
                               v.image_width, "], given ", pixels_BCHW.sizes()));
  }
  const at::Tensor features =
      image_->forward(pixels_BCHW.to(logit_scale_.options()), is_training(), pass);
  return normalize ? unit_rows(features) : features;
}

at::Tensor Towers::class_logits(const at::Tensor& image_BD) {
  if (!is_classifier()) return ClipModel::class_logits(image_BD);
  return at::addmm(head_C_, image_BD * logit_scale_.exp(), head_CD_.t());
}

at::Tensor Towers::encode_text(const at::Tensor& tokens_BL, bool normalize) {
  if (is_classifier()) {
    throw UsageError(plumbline::str("the model ", options_.name, " is a classifier of ",
                                    options_.class_names.size(), " classes: it has no text tower"));
  }
  if (tokens_BL.dim() != 2 || tokens_BL.size(1) != options_.text.context_length) {
    throw Error(plumbline::str("the model takes tokens [B, ", options_.text.context_length,
                               "], given ", tokens_BL.sizes()));
  }
  const at::Tensor features = text_.forward(tokens_BL, pass);
  return normalize ? unit_rows(features) : features;
}

// Locks: a group is everything whose name starts with one of its prefixes.

using Group = std::vector<std::string>;

void set_trainable(ClipModel& model, const Group& group, bool trainable) {
  for (auto& item : model.named_parameters()) {
    const bool inside = std::any_of(group.begin(), group.end(), [&](const std::string& prefix) {
      return item.key().starts_with(prefix);
    });
    if (inside) item.value().set_requires_grad(trainable);
  }
}

void unlock_last(ClipModel& model, const std::vector<Group>& groups, int unlocked) {
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto from_end = static_cast<std::ptrdiff_t>(groups.size() - i);
    set_trainable(model, groups[i], from_end <= unlocked);
  }
}

void check_unlocked(int unlocked) {
  if (unlocked < 0) {
    throw UsageError(str("cannot unlock ", unlocked, " groups of a tower: not negative, please"));
  }
}

/// Blocks of PREFIX.resblocks, the last one together with what follows it.
void append_blocks(std::vector<Group>& groups, const std::string& prefix, int layers,
                   const std::string& after_last) {
  for (int i = 0; i < layers; ++i) groups.push_back({str(prefix, ".resblocks.", i, ".")});
  groups.back().push_back(after_last);
}

}  // namespace

at::Tensor ClipModel::class_logits(const at::Tensor&) {
  throw UsageError(plumbline::str("the model ", options().name, " has no classes"));
}

NamedTensors ClipModel::state_dict() const {
  NamedTensors state;
  for (const auto& [name, tensor] : tensors_) state.emplace_back(name, tensor.detach());
  return state;
}

NamedTensors ClipModel::named_parameters_in_order() const {
  NamedTensors parameters;
  for (const auto& [name, tensor] : tensors_) {
    if (tensor.requires_grad()) parameters.emplace_back(name, tensor);
  }
  return parameters;
}

std::shared_ptr<ClipModel> make_model(const ModelOptions& options, std::uint64_t seed) {
  Weights weights(at::kCPU);
  auto model = std::make_shared<Towers>(options, weights);
  initialise(weights, seed);
  return model;
}

std::vector<TensorShape> tensor_shapes(const ModelOptions& options) {
  Weights weights(at::kMeta);
  const Towers model(options, weights);
  std::vector<TensorShape> shapes;
  for (const Weights::Entry& entry : weights.entries()) {
    shapes.push_back({entry.name, entry.tensor.sizes().vec(), entry.parameter});
  }
  return shapes;
}

bool can_pack_text(const ModelOptions& options) {
  const TextOptions& text = options.text;
  return options.class_names.empty() && !text.no_causal_mask &&
         (text.pool_type == "argmax" || text.pool_type == "eos");
}

bool can_prune_image(const ModelOptions& options) {
  return options.vision.resnet_layers.empty() && options.vision.siglip_trunk.empty() &&
         options.vision.pool_type == "tok";
}

void lock_image(ClipModel& model, int unlocked_groups) {
  check_unlocked(unlocked_groups);
  set_trainable(model, {"visual."}, false);
  if (unlocked_groups == 0) return;
  const VisionOptions& vision = model.options().vision;
  if (!vision.resnet_layers.empty() || !vision.siglip_trunk.empty()) {
    throw UsageError(str("only a ViT can be unlocked in part, and the image tower of ",
                         model.options().name, " is none: lock_image must be true or false"));
  }
  std::vector<Group> groups = {
      {"visual.conv1.", "visual.class_embedding", "visual.positional_embedding", "visual.ln_pre."}};
  append_blocks(groups, "visual.transformer", vision.layers, "visual.ln_post.");
  groups.push_back({"visual.proj"});
  unlock_last(model, groups, unlocked_groups);
}

void lock_text(ClipModel& model, int unlocked_groups) {
  check_unlocked(unlocked_groups);
  const std::string prefix = model.options().custom_text ? "text." : "";
  std::vector<Group> groups = {{prefix + "token_embedding.", prefix + "positional_embedding"}};
  append_blocks(groups, prefix + "transformer", model.options().text.layers, prefix + "ln_final.");
  groups.push_back({prefix + "text_projection"});
  unlock_last(model, groups, unlocked_groups);
}

}  // namespace plumbline
