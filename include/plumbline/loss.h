// Losses over the rows of all ranks, with gradients by hand: they are not autograd nodes, so that
// collectives and tower backward passes can overlap. loss/table.cpp lists them by name.
#pragma once

#include <torch/torch.h>

#include <string_view>

#include "plumbline/communicator.h"

namespace plumbline {

/// How the CLIP loss is computed. t0: LibTorch operations tile by tile, any type and device,
/// float32 or float64. t1: fused elementwise kernels between matrix products; on a CPU float32,
/// threaded; on GPUs from compute capability 8.0 bfloat16 features and gradients of logits, float32
/// sums. automatic: t1 for float32 on a CPU, else t0 (on GPUs until t1 is measured there).
enum class LossTier { automatic, t0, t1 };

/// `auto`, `t0`, `t1`; throws UsageError for another word or a tier that `device` cannot run.
[[nodiscard]] LossTier read_loss_tier(std::string_view name, at::Device device);

/// This rank's rows. B = global batch = sum of b over ranks; b may differ between ranks.
struct LossInput {
  at::Tensor image_BD;  ///< [b, D] unit rows, float32 or float64, detached
  at::Tensor text_BD;   ///< [b, D]
  at::Tensor
      logit_scale;  ///< scalar, natural logarithm t; the loss uses min(exp(t), max_logit_scale)
  at::Tensor logit_bias;  ///< scalar, or undefined
  double max_logit_scale = 100.0;
  LossTier tier = LossTier::automatic;  ///< of clip_loss; the others have t0 alone
};

/// Gradients of the global mean loss. Tower gradients are for this rank's rows and complete; those
/// of scale and bias are this rank's part: parameter gradients are SUMMED over ranks.
struct LossOutput {
  at::Tensor loss;  ///< scalar float64: the global mean, the same on every rank
  at::Tensor d_image_BD;
  at::Tensor d_text_BD;
  at::Tensor d_logit_scale;  ///< with respect to t, shaped and typed like it
  at::Tensor d_logit_bias;   ///< undefined without bias
};

/// Collective: all ranks call it in the same order. Throws Error when D differs between ranks.
using LossFunction = LossOutput (*)(const LossInput& input, Communicator& ranks);

/// Symmetric InfoNCE (Radford et al. 2021, arXiv:2103.00020, Fig. 3) by the row-block algorithm:
/// rows of this rank's images against the texts of all ranks. Cost 8 b B D FLOP, logits never
/// stored whole. Off-diagonal sums with a fixed exponent reference, so nothing cancels.
/// With t1 throws Error, on every rank alike, when the gradients contradict each other:
/// sum <I, dI> = sum <T, dT> = s/2B sum G x within 1e-4 of s/2B sum |G x|, or a processor is
/// broken.
[[nodiscard]] LossOutput clip_loss(const LossInput& input, Communicator& ranks);

/// Sigmoid loss (Zhai et al. 2023, arXiv:2303.15343): (1/B) sum softplus(-y (s x + beta)).
[[nodiscard]] LossOutput siglip_loss(const LossInput& input, Communicator& ranks);

/// NT-Xent of SimCLR (Chen et al. 2020, arXiv:2002.05709): image_BD and text_BD are two views of
/// the same images; mean cross-entropy of view a plus that of view b, every other row of both views
/// a negative. logit_scale is ln(1/tau). Throws Error when sums leave the range of the type.
[[nodiscard]] LossOutput ntxent_loss(const LossInput& input, Communicator& ranks);

/// Global mean loss of a classifier and this rank's rows of its gradient.
struct ClassLossOutput {
  at::Tensor loss;         ///< scalar float64, the same on every rank
  at::Tensor d_logits_BK;  ///< [b, K], typed like the logits
};

/// (1/B) sum -log softmax(logits)[label] over the rows of all ranks.
///   logits_BK  [b, K], float32 or float64
///   labels_B   [b], int64 in [0, K)
/// Collective. Not in find_loss: it takes labels, not pairs.
[[nodiscard]] ClassLossOutput cross_entropy_loss(const at::Tensor& logits_BK,
                                                 const at::Tensor& labels_B, Communicator& ranks);

/// `loss.kind` of a loss over pairs to its function; throws UsageError listing the known names.
[[nodiscard]] LossFunction find_loss(std::string_view kind);

}  // namespace plumbline
