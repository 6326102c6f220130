// NT-Xent of SimCLR (Chen et al. 2020, arXiv:2002.05709): two views of each image, every other row
// of both views a negative. L = mean CE of view a + mean CE of view b.
//
// The 2N x 2N matrix of logits is symmetric, so with R_i the sum of row i without itself and its
// positive, u = 1/(R + p) and G_ik = e_ik (u_i + u_k), G_positive = -(R_i u_i + R_k u_k), own rows
// of dF = s/B G F need nothing from other ranks but the gathered features and u.
#include <algorithm>
#include <limits>

#include "loss/tiles.h"
#include "ops/collectives.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// One view of this rank against both views of all ranks.
struct View {
  at::Tensor rows_BD;
  std::int64_t self = 0, partner = 0;  ///< columns of row 0: itself and its positive
  at::Tensor sum_B, positive_B, exponent_B;
};

struct Columns {
  at::Tensor all_MD;
  double scale = 0, reference = 0;
  std::int64_t tile = 0;
};

/// Tiles of exp(Z - c), zero at the row itself and its positive.
template <typename Body>
void for_each_tile(const Columns& columns, const View& view, const Body& body) {
  const std::int64_t total = columns.all_MD.size(0);
  for (std::int64_t first = 0; first < total; first += columns.tile) {
    const at::Tensor features =
        columns.all_MD.narrow(0, first, std::min(columns.tile, total - first));
    at::Tensor e_BM =
        at::mm(view.rows_BD, features.t()).mul_(columns.scale).sub_(columns.reference).exp_();
    for (const std::int64_t offset : {view.self, view.partner}) {
      const auto inside = positives_in_tile(e_BM, first, offset);
      if (inside.view.defined()) inside.view.zero_();
    }
    body(first, features, e_BM);
  }
}

void sum_terms(const Columns& columns, View& view, const View& partner) {
  view.exponent_B =
      (view.rows_BD * partner.rows_BD).sum(1).mul_(columns.scale).sub_(columns.reference);
  view.positive_B = view.exponent_B.exp();
  view.sum_B = at::zeros_like(view.positive_B);
  for_each_tile(columns, view, [&view](std::int64_t, const at::Tensor&, const at::Tensor& e_BM) {
    view.sum_B.add_(e_BM.sum(1));
  });
  const at::Tensor sum = view.sum_B + view.positive_B;
  const double smallest = smallest_safe_sum(sum.scalar_type(), columns.all_MD.size(0));
  if (((sum < smallest) | sum.isinf()).any().item<bool>()) {
    throw Error(str("ntxent loss: features are not unit rows, or the logit scale ", columns.scale,
                    " is too large"));
  }
}

[[nodiscard]] at::Tensor multiply(const Columns& columns, const View& view, const at::Tensor& u_M,
                                  const at::Tensor& positive_G_B) {
  at::Tensor out_BD = at::zeros_like(view.rows_BD);
  const at::Tensor u_B1 = u_M.narrow(0, view.self, view.rows_BD.size(0)).unsqueeze(1);
  for_each_tile(columns, view,
                [&](std::int64_t first, const at::Tensor& features, at::Tensor& e_BM) {
                  e_BM.mul_(u_B1 + u_M.narrow(0, first, features.size(0)));
                  const auto inside = positives_in_tile(e_BM, first, view.partner);
                  if (inside.view.defined()) {
                    inside.view.copy_(positive_G_B.narrow(0, inside.first_row, inside.rows));
                  }
                  out_BD.addmm_(e_BM, features);
                });
  return out_BD;
}

}  // namespace

LossOutput ntxent_loss(const LossInput& input, Communicator& ranks) {
  const at::NoGradGuard no_grad;
  check_loss_input(input, "ntxent");
  View a, b;
  a.rows_BD = input.image_BD.detach().contiguous();
  b.rows_BD = input.text_BD.detach().contiguous();
  const RowLayout layout = agree_on_rows(a.rows_BD, ranks);
  a.self = b.partner = layout.offset;
  b.self = a.partner = layout.total + layout.offset;
  Columns columns;
  columns.all_MD =
      at::cat({gather_rows(a.rows_BD, layout, ranks), gather_rows(b.rows_BD, layout, ranks)});
  columns.scale = read_logit_scale(input);
  columns.reference = std::max(columns.scale - 70.0, 0.0);
  columns.tile = tile_columns(a.rows_BD, columns.all_MD.size(0));
  sum_terms(columns, a, b);
  sum_terms(columns, b, a);

  const at::Tensor u_a = (a.sum_B + a.positive_B).reciprocal_();
  const at::Tensor u_b = (b.sum_B + b.positive_B).reciprocal_();
  const at::Tensor u_M = at::cat({gather_rows(u_a.unsqueeze(1), layout, ranks),
                                  gather_rows(u_b.unsqueeze(1), layout, ranks)})
                             .squeeze(1);
  const at::Tensor positive_G_B = (a.sum_B * u_a + b.sum_B * u_b).neg_();
  const double B = static_cast<double>(layout.total);
  LossOutput out;
  out.loss = (row_loss(a.sum_B, a.positive_B, a.exponent_B) +
              row_loss(b.sum_B, b.positive_B, b.exponent_B))
                 .sum(at::kDouble)
                 .div_(B);
  all_reduce(out.loss, Reduce::sum, ranks);
  out.d_image_BD = multiply(columns, a, u_M, positive_G_B);
  out.d_text_BD = multiply(columns, b, u_M, positive_G_B);
  const at::Tensor sum_Gx =
      (a.rows_BD * out.d_image_BD).sum(at::kDouble) + (b.rows_BD * out.d_text_BD).sum(at::kDouble);
  out.d_logit_scale = sum_Gx.mul_(columns.scale / (2 * B))
                          .to(input.logit_scale.scalar_type())
                          .view_as(input.logit_scale);
  out.d_image_BD.mul_(columns.scale / B);
  out.d_text_BD.mul_(columns.scale / B);
  return out;
}

}  // namespace plumbline
