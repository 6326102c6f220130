// What a model costs: parameters, FLOPs and activation bytes of a tower, from its sizes alone. No
// tensor library: a plan is arithmetic.
#pragma once

#include <array>
#include <optional>
#include <variant>

namespace plumbline {

/// A vision transformer; of SigLIP's when `attention_pool`.
struct VitShape {
  int image_height = 224, image_width = 224;
  int patch = 16;
  int layers = 12, width = 768, mlp = 3072, embed_dim = 512;
  bool attention_pool = false;  ///< one query over all tokens; no class token, no projection
  bool quick_gelu = false;
  bool prune = true;         ///< the last block computes the pooled token only
  double patch_dropout = 0;  ///< share of the patches left out in training
  [[nodiscard]] double patches() const;
};

/// CLIP's ModifiedResNet.
struct ResnetShape {
  int image = 224, width = 64, embed_dim = 1024;
  std::array<int, 4> layers = {3, 4, 6, 3};
};

struct TextShape {
  int context = 77, layers = 12, width = 512, mlp = 2048, embed_dim = 512;
  bool project = true;
  bool quick_gelu = false;
  bool pack = true;   ///< tokens behind the pooled one are not computed
  bool prune = true;  ///< as for images
};

struct ModelShape {
  std::variant<VitShape, ResnetShape> image;
  std::optional<TextShape> text;  ///< none: a classifier
  int classes = 0;
  double image_parameters = 0, text_parameters = 0, other_parameters = 0;
  bool image_trained = true, text_trained = true;
  [[nodiscard]] double parameters() const;
  [[nodiscard]] double trained_parameters() const;
  [[nodiscard]] int embed_dim() const;
};

/// Of one sample through one tower.
struct TowerCost {
  double parameters = 0;
  bool trained = true;
  /// Forward, multiply-add = 2, nothing packed or pruned: what OpenCLIP's docs/model_profile.csv
  /// counts, and what MFU is measured in.
  double standard_flops = 0;
  double executed_flops = 0;  ///< forward, with the exact cuts that the run uses
  double saved_bytes = 0;     ///< kept from forward to backward
  double scratch_bytes = 0;   ///< largest temporaries of backward
  double traffic_bytes = 0;   ///< read and written by everything but products, forward + backward
};

/// Bytes of activations: float32, or autocast to bfloat16 with float32 residuals.
enum class Activations { fp32, bf16_autocast };

[[nodiscard]] TowerCost image_cost(const ModelShape& model, Activations activations);
/// `caption_tokens`: mean ids of a caption, for packing. All zero for a classifier's.
[[nodiscard]] TowerCost text_cost(const ModelShape& model, Activations activations,
                                  double caption_tokens);

}  // namespace plumbline
