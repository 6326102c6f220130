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

/// `vision_cfg` of OpenCLIP's schema: one of three trunks. A ViT, unless one of the first two is
/// set.
struct VisionOptions {
  std::vector<int> resnet_layers;  ///< `layers: [3, 4, 6, 3]`: ModifiedResNet
  std::string siglip_trunk;        ///< `timm_model_name`; sets the sizes below as well
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
  bool custom_text = false;                     ///< text tensors stand under `text.`
  double init_logit_scale = 2.659260036932778;  ///< ln(1/0.07)
  std::optional<double> init_logit_bias;
  bool nonscalar_logit_scale = false;
  /// Not empty: a classifier of these classes, with a linear head in the place of the text tower.
  std::vector<std::string> class_names;
  PreprocessOptions preprocess;  ///< size from image_size, the rest from `preprocess_cfg` if any
  std::string source_json;       ///< the configuration as read, canonical JSON, kept in checkpoints
};

/// NAME of configs/model/NAME.yaml|json, or a path. `NAME-quickgelu` is NAME with quick_gelu.
/// `config_dir` holds the named files. Throws UsageError naming file, line and key for unknown or
/// unsupported options.
[[nodiscard]] ModelOptions read_model(const std::string& name_or_path,
                                      const std::string& config_dir = "configs/model");

/// The same from JSON text; `where` opens error messages.
[[nodiscard]] ModelOptions parse_model(const std::string& json, const std::string& where);

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// A tensor of a model that was not built.
struct TensorShape {
  std::string name;
  std::vector<std::int64_t> shape;
  bool parameter = true;  ///< else a buffer
};

/// Makes it the configuration of a classifier (key `class_names`, which is no key of OpenCLIP's
/// schema). Throws UsageError for fewer than two classes or a name that stands twice.
void set_class_names(ModelOptions& options, std::vector<std::string> names);

/// Name and shape of every tensor of the model in state-dict order. Allocates no weights.
[[nodiscard]] std::vector<TensorShape> tensor_shapes(const ModelOptions& options);

/// Settings of the coming forward passes; they change no parameter. Packing and pruning are exact
/// but for rounding, and are left out by themselves where they would not be (can_pack_text ...).
struct PassOptions {
  bool pack_text = true;         ///< tokens behind the pooled one are not computed
  bool prune_last_block = true;  ///< the last block computes only the pooled token of a row
  /// False: batch normalisation in train() leaves the running values alone, for the second forward
  /// of gradient accumulation.
  bool update_running_stats = true;
  /// Patch dropout is a pure function of the seed and the position of each row's sample in the run.
  /// Required, one a row, for encode_image in train() with patch_dropout > 0.
  std::uint64_t dropout_seed = 0;
  std::vector<std::uint64_t> dropout_positions;
};

/// Text can be packed: causal attention, pooled by `argmax` or `eos`; there is a text tower.
[[nodiscard]] bool can_pack_text(const ModelOptions& options);
/// A tower's last block can be pruned: it pools one token.
[[nodiscard]] bool can_prune_image(const ModelOptions& options);

/// Parameters and buffers live in float32 under OpenCLIP's names. to(torch::kDouble), to(device),
/// train() and eval() are those of torch::nn::Module.
class ClipModel : public torch::nn::Module {
 public:
  virtual ~ClipModel() = default;
  /// pixels_BCHW  float32, normalised. Returns [B, embed_dim]; unit rows if `normalize`
  ///              (f / max(|f|, 1e-12)). Throws Error when the size is not the model's.
  virtual at::Tensor encode_image(const at::Tensor& pixels_BCHW, bool normalize) = 0;
  /// tokens_BL  int32 or int64, on the model's device or on the CPU (better: packing then needs no
  ///            wait for the device). Returns [B, embed_dim]. Throws UsageError for a classifier.
  virtual at::Tensor encode_text(const at::Tensor& tokens_BL, bool normalize) = 0;
  /// Of a classifier: exp(logit_scale) image_BD W^T + b, [B, classes]. The head has the tensors
  /// head.weight [classes, embed_dim] and head.bias. Throws UsageError for a model without classes.
  ///   image_BD  unit rows, as encode_image gives them
  virtual at::Tensor class_logits(const at::Tensor& image_BD);
  /// Natural logarithm of the scale: parameter, [] or [1].
  virtual at::Tensor& logit_scale() = 0;
  /// Undefined unless the model has one.
  virtual at::Tensor& logit_bias() = 0;
  [[nodiscard]] virtual const ModelOptions& options() const = 0;
  [[nodiscard]] bool is_classifier() const { return !options().class_names.empty(); }

  /// Every tensor a checkpoint holds, in OpenCLIP's state-dict order (parameters and buffers); the
  /// tensors share memory with the model.
  [[nodiscard]] NamedTensors state_dict() const;
  /// Trainable parameters in state-dict order.
  [[nodiscard]] NamedTensors named_parameters_in_order() const;

  PassOptions pass;

 protected:
  NamedTensors tensors_;  ///< parameters and buffers in state-dict order
};

/// Fresh weights with OpenCLIP's distributions, tensor by tensor; the numbers are a function of
/// `seed` and the tensor's name alone (Philox).
[[nodiscard]] std::shared_ptr<ClipModel> make_model(const ModelOptions& options,
                                                    std::uint64_t seed);

/// Freezes the image tower (LiT, arXiv:2111.07991), but for its last `unlocked_groups` groups of:
/// stem with embeddings and ln_pre | each block but the last | last block with ln_post |
/// projection. Throws UsageError for unlocked_groups > 0 where the tower is no ViT.
void lock_image(ClipModel& model, int unlocked_groups);
/// The same for the text tower: embeddings | each block but the last | last with ln_final |
/// projection.
void lock_text(ClipModel& model, int unlocked_groups);

/// Copies `tensors` (of `where`, for messages) into the model, converting the float type. Accepted:
/// prefixes `module.` and `_orig_mod.`, a missing `text.` prefix, logit_scale [] for [1] and back,
/// ViT and text positional embeddings of another length (resized as OpenCLIP does), a missing
/// logit_bias (0); position_ids, attn_mask and OpenAI's three scalars are dropped.
/// Names, shapes and values are all checked first: on any difference throws UsageError listing all
/// missing, unexpected and wrongly shaped tensors, for a value that is not finite DataError, and
/// changes nothing. Returns what was adapted, one sentence each, for the log.
std::vector<std::string> load_state_dict(ClipModel& model, const NamedTensors& tensors,
                                         const std::string& where);

/// Standard forward FLOPs of one image-text pair (multiply-add = 2): patches, attention, MLPs,
/// projections, convolutions; text at full context length; nothing packed or pruned. Of a
/// classifier: one image and the head.
[[nodiscard]] double forward_flops(const ModelOptions& options);

/// safetensors files: F64, F32, BF16, F16, I64, I32, U8. Tensors keep the header's order. Reading
/// throws DataError naming file and byte for a bad header, offsets that overlap or leave gaps, or a
/// truncated file. Writing goes to a temporary name, fsyncs, renames; metadata always holds
/// {"format": "pt"}.
struct TensorFile {
  NamedTensors tensors;
  std::vector<std::pair<std::string, std::string>> metadata;
};
[[nodiscard]] TensorFile read_safetensors(const std::string& path);
void write_safetensors(const std::string& path, const TensorFile& file);

}  // namespace plumbline
