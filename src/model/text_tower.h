// The text side of a model. B rows, L context length, T kept tokens, w width.
#pragma once

#include "model/transformer.h"
#include "model/weights.h"
#include "plumbline/model.h"

namespace plumbline {

class TextTower {
 public:
  TextTower(const TextOptions& options, std::int64_t embed_dim)
      : options_(options), embed_dim_(embed_dim) {}

  /// A module's own tensors precede its parts in a state dict, and in `CLIP` (unlike
  /// `CustomTextCLIP`, which keeps the tower under `text.`) the image tower stands between the two.
  void declare_own(Weights& weights, const std::string& prefix);
  void declare_parts(Weights& weights, const std::string& prefix, bool embedding_first);

  /// tokens_BL int32 or int64, on any device. Returns [B, embed_dim], not normalised.
  [[nodiscard]] at::Tensor forward(const at::Tensor& tokens_BL, const PassOptions& pass) const;

 private:
  TextOptions options_;
  std::int64_t embed_dim_;
  at::Tensor positional_embedding_;
  at::Tensor text_projection_;  ///< [w, embed_dim]; undefined with `none` and with a bias
  Linear projection_;           ///< with `proj_bias`
  at::Tensor token_embedding_;
  Transformer transformer_;
  LayerNorm ln_final_;
};

}  // namespace plumbline
