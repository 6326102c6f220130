// Pre-norm transformer blocks, shared by the ViT, the text tower and the SigLIP trunk.
// Shapes: B rows, N tokens a row, T tokens in all (B N, fewer when packed), D width, H heads.
// Activations are [T, D] throughout: each linear layer is one matrix product.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <string>
#include <vector>

#include "model/weights.h"

namespace plumbline {

enum class Activation { gelu, gelu_tanh, quick_gelu };
/// gelu | gelu_tanh | quick_gelu.
[[nodiscard]] Activation activation_of(const std::string& name);
[[nodiscard]] at::Tensor activate(const at::Tensor& x, Activation activation);

struct Linear {
  at::Tensor weight;  ///< [out, in]
  at::Tensor bias;
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const {
    return at::linear(x, weight, bias);
  }
};
[[nodiscard]] Linear declare_linear(Weights& weights, const std::string& name, std::int64_t in,
                                    std::int64_t out, Init weight, Init bias);

struct LayerNorm {
  at::Tensor weight, bias;
  double eps = 1e-5;
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const {
    return at::layer_norm(x, weight.sizes(), weight, bias, eps);
  }
};
[[nodiscard]] LayerNorm declare_layer_norm(Weights& weights, const std::string& name,
                                           std::int64_t width, double eps);

/// x += ls_1(attention(ln_1 x)); x += ls_2(mlp(ln_2 x)).
struct Block {
  LayerNorm ln_1;
  Linear in_proj;  ///< rows q, k, v
  Linear out_proj;
  at::Tensor ls_1;  ///< undefined without LayerScale
  LayerNorm ln_2;
  Linear c_fc, c_proj;
  at::Tensor ls_2;
};

struct TransformerOptions {
  std::int64_t width = 0, layers = 0, heads = 0, mlp_width = 0;
  Activation activation = Activation::gelu;
  double norm_eps = 1e-5;
  std::optional<double> ls_init_value;
  bool causal = false;
};

/// How the linear layers of a block start.
struct BlockInit {
  Init in_proj, out_proj, c_fc, c_fc_bias, c_proj, c_proj_bias;
};

/// Which tokens of a packed batch stand where. Undefined tensors: all B x N tokens are there.
struct Packing {
  std::int64_t rows = 0;    ///< B
  std::int64_t tokens = 0;  ///< N, the longest row
  at::Tensor slot_T;        ///< int64 [T]: b N + position of each kept token
  [[nodiscard]] bool dense() const { return !slot_T.defined(); }
};

struct Transformer {
  TransformerOptions options;
  std::vector<Block> blocks;

  /// All tokens through all blocks: x_TD to [T, D].
  [[nodiscard]] at::Tensor run(const at::Tensor& x_TD, const Packing& packing) const;
  /// Only the token of each row that is pooled: [B, D].
  ///   pooled_B     int64, index into the T tokens
  ///   position_B   int64, its position in the row (causal blocks), else undefined
  /// With `prune` the last block computes keys and values of all tokens, the rest of one a row.
  [[nodiscard]] at::Tensor run_pooled(const at::Tensor& x_TD, const Packing& packing,
                                      const at::Tensor& pooled_B, const at::Tensor& position_B,
                                      bool prune) const;
};

/// Under OpenCLIP's names: PREFIX.resblocks.{i}.{ln_1, attn, ls_1, ln_2, mlp, ls_2}.
[[nodiscard]] Transformer declare_transformer(Weights& weights, const std::string& prefix,
                                              const TransformerOptions& options,
                                              const BlockInit& init);
/// Under timm's: PREFIX.blocks.{i}.{norm1, attn, norm2, mlp}.
[[nodiscard]] Transformer declare_timm_blocks(Weights& weights, const std::string& prefix,
                                              const TransformerOptions& options,
                                              const BlockInit& init);

}  // namespace plumbline
