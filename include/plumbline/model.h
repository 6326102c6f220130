// The two-tower model under OpenCLIP's configuration schema and state-dict names.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plumbline/image.h"

namespace plumbline {

/// `vision_cfg` of OpenCLIP's schema. Exactly one of the two trunks: `resnet_layers` empty = ViT.
struct VisionOptions {
  std::vector<int> resnet_layers;  ///< `layers: [3, 4, 6, 3]`
  int layers = 12;
  int width = 768;
  int head_width = 64;
  double mlp_ratio = 4.0;
  int patch_size = 16;
  int image_height = 224, image_width = 224;
  std::optional<double> ls_init_value;
  double patch_dropout = 0.0;
  bool no_ln_pre = false;
  std::string pool_type = "tok";  ///< tok | avg
  bool final_ln_after_pool = false;
  std::string activation = "gelu";  ///< gelu | gelu_tanh | quick_gelu
  double norm_eps = 1e-5;
};

/// `text_cfg` of OpenCLIP's schema.
struct TextOptions {
  int context_length = 77;
  int vocab_size = 49408;
  int width = 512;
  int heads = 8;
  int layers = 12;
  double mlp_ratio = 4.0;
  std::optional<double> ls_init_value;
  bool no_causal_mask = false;
  std::string pool_type = "argmax";  ///< argmax | eos | last | first
  int eos_id = 2;
  bool proj_bias = false;
  std::string proj_type = "linear";  ///< linear | none
  std::string activation = "gelu";
  double norm_eps = 1e-5;
};

struct ModelOptions {
  std::string name;
  int embed_dim = 512;
  VisionOptions vision;
  TextOptions text;
  bool custom_text = false;  ///< text tensors stand under `text.`
  double init_logit_scale = 2.659260036932778;  ///< ln(1/0.07)
  std::optional<double> init_logit_bias;
  bool nonscalar_logit_scale = false;
  std::string source_json;  ///< the configuration as read, canonical JSON, kept in checkpoints
};

/// NAME of configs/model/NAME.yaml|json, or a path. `NAME-quickgelu` is NAME with quick_gelu.
/// `config_dir` holds the named files. Throws UsageError naming file, line and key for unknown or
/// unsupported options.
[[nodiscard]] ModelOptions read_model(const std::string& name_or_path,
                                      const std::string& config_dir = "configs/model");

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Parameters and buffers live in float32 under OpenCLIP's names.
class ClipModel : public torch::nn::Module {
 public:
  virtual ~ClipModel() = default;
  /// pixels_BCHW  float32, normalised. Returns [B, embed_dim]; unit rows if `normalize`
  ///              (f / max(|f|, 1e-12)).
  virtual at::Tensor encode_image(const at::Tensor& pixels_BCHW, bool normalize) = 0;
  /// tokens_BL  int32 or int64. Returns [B, embed_dim].
  virtual at::Tensor encode_text(const at::Tensor& tokens_BL, bool normalize) = 0;
  /// Natural logarithm of the scale: parameter, [] or [1].
  virtual at::Tensor& logit_scale() = 0;
  /// Undefined unless the model has one.
  virtual at::Tensor& logit_bias() = 0;
  [[nodiscard]] virtual const ModelOptions& options() const = 0;

  /// Every tensor a checkpoint holds, in OpenCLIP's state-dict order (parameters and buffers); the
  /// tensors share memory with the model.
  [[nodiscard]] NamedTensors state_dict() const;
  /// Trainable parameters in state-dict order.
  [[nodiscard]] NamedTensors named_parameters_in_order() const;
};

/// Fresh weights with OpenCLIP's distributions, tensor by tensor; the numbers are a function of
/// `seed` and the tensor's name alone (Philox).
[[nodiscard]] std::shared_ptr<ClipModel> make_model(const ModelOptions& options, std::uint64_t seed);

/// Copies `tensors` into the model. Names, shapes all checked first; on any difference throws
/// UsageError listing all missing, unexpected and wrongly shaped tensors, and changes nothing.
void load_state_dict(ClipModel& model, const NamedTensors& tensors, const std::string& where);

/// Standard forward FLOPs of one image-text pair (multiply-add = 2): patches, attention, MLPs,
/// projections; text at full context length.
[[nodiscard]] double forward_flops(const ModelOptions& options);

/// safetensors files. Reading throws DataError naming file and byte for a bad header, offsets that
/// overlap or leave gaps, or a truncated file. Writing goes to a temporary name, fsyncs, renames.
struct TensorFile {
  NamedTensors tensors;
  std::vector<std::pair<std::string, std::string>> metadata;
};
[[nodiscard]] TensorFile read_safetensors(const std::string& path);
void write_safetensors(const std::string& path, const TensorFile& file);

}  // namespace plumbline
