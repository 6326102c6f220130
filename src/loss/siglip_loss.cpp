// Sigmoid loss over all pairs of all ranks, one pass over tiles of columns.
//
//   Z = s x + beta, y = +1 for a pair and -1 else;  L = 1/B sum softplus(-y Z)
//   G = -y sigmoid(-y Z);  dI = s/B G T,  dT = s/B G^T I,  ds = 1/B sum G x,  dbeta = 1/B sum G
#include <algorithm>
#include <limits>

#include "loss/tiles.h"
#include "ops/collectives.h"

namespace plumbline {
namespace {

// From here on softplus(x) = x in double too.
constexpr double kSoftplusLinear = 40.0;

/// softplus of one entry's -y Z.
[[nodiscard]] at::Tensor loss_of(const at::Tensor& x) {
  return at::softplus(x, 1, kSoftplusLinear);
}

}  // namespace

LossOutput siglip_loss(const LossInput& input, Communicator& ranks) {
  const at::NoGradGuard no_grad;
  check_loss_input(input, "siglip");
  const at::Tensor image_BD = input.image_BD.detach().contiguous();
  const RowLayout layout = agree_on_rows(image_BD, ranks);
  const at::Tensor text_ND = gather_rows(input.text_BD.detach(), layout, ranks);
  const double scale = read_logit_scale(input);
  const double bias = input.logit_bias.defined() ? input.logit_bias.detach().item<double>() : 0.0;
  const double B = static_cast<double>(layout.total);
  const at::Tensor positive_B = (image_BD * input.text_BD.detach()).sum(1).mul_(scale).add_(bias);
  const at::Tensor positive_G_B = at::sigmoid(-positive_B).neg_();
  at::Tensor loss = loss_of(-positive_B).sum(at::kDouble);
  at::Tensor sum_G = positive_G_B.sum(at::kDouble);
  at::Tensor d_image_BD = at::zeros_like(image_BD);
  at::Tensor d_text_ND = at::empty_like(text_ND);
  const std::int64_t tile = tile_columns(image_BD, layout.total);
  for (std::int64_t first = 0; first < layout.total; first += tile) {
    const std::int64_t columns = std::min(tile, layout.total - first);
    const at::Tensor text = text_ND.narrow(0, first, columns);
    at::Tensor tile_BN = at::mm(image_BD, text.t()).mul_(scale).add_(bias);
    const auto positives = positives_in_tile(tile_BN, first, layout.offset);
    // Positives are not negatives: softplus and sigmoid of -inf are exactly 0.
    if (positives.view.defined()) positives.view.fill_(-std::numeric_limits<double>::infinity());
    loss.add_(loss_of(tile_BN).sum(1).sum(at::kDouble));
    tile_BN.sigmoid_();
    sum_G.add_(tile_BN.sum(1).sum(at::kDouble));
    if (positives.view.defined()) {
      positives.view.copy_(positive_G_B.narrow(0, positives.first_row, positives.rows));
    }
    d_image_BD.addmm_(tile_BN, text);
    at::Tensor d_text = d_text_ND.narrow(0, first, columns);
    at::mm_out(d_text, tile_BN.t(), image_BD);
  }
  LossOutput out;
  out.loss = loss.div_(B);
  all_reduce(out.loss, Reduce::sum, ranks);
  out.d_logit_scale = (image_BD * d_image_BD)
                          .sum(at::kDouble)
                          .mul_(scale / B)
                          .to(input.logit_scale.scalar_type())
                          .view_as(input.logit_scale);
  if (input.logit_bias.defined()) {
    out.d_logit_bias = sum_G.div_(B).to(input.logit_bias.scalar_type()).view_as(input.logit_bias);
  }
  out.d_image_BD = d_image_BD.mul_(scale / B);
  out.d_text_BD = scatter_row_sums(d_text_ND, layout, ranks).mul_(scale / B);
  return out;
}

}  // namespace plumbline
