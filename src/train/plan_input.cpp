#include "train/plan_input.h"

#include <algorithm>
#include <string_view>

#include "ops/gradient_reducer.h"

namespace plumbline {
namespace {

constexpr std::size_t kLoaderBatches = 3;  // of the ring

VitShape vit_shape(const ModelOptions& model, const ModelSection& section) {
  const VisionOptions& v = model.vision;
  VitShape shape;
  shape.image_height = v.image_height;
  shape.image_width = v.image_width;
  shape.patch = v.patch_size;
  shape.layers = v.layers;
  shape.width = v.width;
  shape.mlp = static_cast<int>(v.width * v.mlp_ratio);
  shape.embed_dim = model.embed_dim;
  shape.attention_pool = !v.siglip_trunk.empty();
  shape.quick_gelu = v.activation == "quick_gelu";
  shape.prune = section.prune_last_block == "auto" && can_prune_image(model);
  shape.patch_dropout = v.patch_dropout;
  return shape;
}

ResnetShape resnet_shape(const ModelOptions& model) {
  ResnetShape shape;
  shape.image = model.vision.image_height;
  shape.width = model.vision.width;
  shape.embed_dim = model.embed_dim;
  std::copy_n(model.vision.resnet_layers.begin(), 4, shape.layers.begin());
  return shape;
}

TextShape text_shape(const ModelOptions& model, const ModelSection& section) {
  const TextOptions& t = model.text;
  TextShape shape;
  shape.context = t.context_length;
  shape.layers = t.layers;
  shape.width = t.width;
  shape.mlp = static_cast<int>(t.width * t.mlp_ratio);
  shape.embed_dim = model.embed_dim;
  shape.project = t.proj_type != "none";
  shape.quick_gelu = t.activation == "quick_gelu";
  shape.pack = section.pack_text == "auto" && can_pack_text(model);
  shape.prune = section.prune_last_block == "auto";
  return shape;
}

double loader_bytes(const RunConfig& config, int world) {
  const VisionOptions& v = config.resolved_model.vision;
  const double rows = static_cast<double>(config.train.global_batch) / world;
  const double row = 3.0 * v.image_height * v.image_width + 4.0 * config.tokenizer.context_length;
  return static_cast<double>(config.data.memory_mb << 20) + kLoaderBatches * rows * row;
}

std::int64_t steps_of(const RunConfig& config, std::int64_t epoch_samples) {
  if (config.train.steps > 0) return config.train.steps;
  const double samples = config.train.samples > 0
                             ? static_cast<double>(config.train.samples)
                             : config.train.epochs * static_cast<double>(epoch_samples);
  return std::max<std::int64_t>(
      1, static_cast<std::int64_t>(samples / static_cast<double>(config.train.global_batch)));
}

}  // namespace

ModelShape model_shape(const RunConfig& config) {
  const ModelOptions& model = config.resolved_model;
  ModelShape shape;
  if (model.vision.resnet_layers.empty()) {
    shape.image = vit_shape(model, config.model);
  } else {
    shape.image = resnet_shape(model);
  }
  shape.classes = static_cast<int>(model.class_names.size());
  if (shape.classes == 0) shape.text = text_shape(model, config.model);
  shape.image_trained = !config.model.lock_image;
  shape.text_trained = shape.text && !config.model.lock_text;
  for (const TensorShape& tensor : tensor_shapes(model)) {
    if (!tensor.parameter) continue;
    double count = 1;
    for (const std::int64_t side : tensor.shape) count *= static_cast<double>(side);
    const std::string_view name = tensor.name;
    const bool other = name.starts_with("logit_") || name.starts_with("head.");
    double& sum = name.starts_with("visual.") ? shape.image_parameters
                  : other                     ? shape.other_parameters
                                              : shape.text_parameters;
    sum += count;
  }
  return shape;
}

PlanInput plan_input(const RunConfig& config, int world, const PlanDevice& device,
                     std::int64_t epoch_samples) {
  const PlanOptions& assumed = config.plan;
  PlanInput in;
  in.model = model_shape(config);
  in.device = device;
  if (assumed.node_gb_per_s > 0) in.device.node_bytes_per_s = 1e9 * assumed.node_gb_per_s;
  if (assumed.network_gb_per_s > 0) in.device.network_bytes_per_s = 1e9 * assumed.network_gb_per_s;
  if (assumed.network_latency_us > 0) {
    in.device.latency_network_s = 1e-6 * assumed.network_latency_us;
  }
  if (assumed.of_roofline > 0) in.device.of_roofline = assumed.of_roofline;
  if (assumed.mtbf_hours > 0) in.mtbf_hours = assumed.mtbf_hours;
  in.price = assumed.gpu_hour_price;
  in.per_node = assumed.gpus_per_node;
  in.world = world;
  in.global_batch = config.train.global_batch;
  in.micro_batch = config.train.micro_batch;
  in.steps = steps_of(config, epoch_samples);
  in.bf16 = config.train.precision == "bf16";
  in.zero1 = config.optimizer.zero1 && world > 1;
  in.average = config.train.ema > 0;
  in.siglip = config.loss.kind == "siglip";
  if (assumed.caption_tokens > 0) in.caption_tokens = assumed.caption_tokens;
  in.bucket_bytes = static_cast<double>(GradientReducer::kBucketBytes);
  in.loader_bytes = loader_bytes(config, world);
  return in;
}

}  // namespace plumbline
