// Symmetric InfoNCE by the row-block algorithm: this rank's images against the texts of all ranks.
// Two passes over tiles of columns; the second recomputes what the first summed, so the logits are
// never stored whole.
//
//   e_ij = exp(Z_ij - c), p_i = e_ii, off-diagonal sums R_i and C_j, u = 1/(R + p), v = 1/(C + p)
//   L    = 1/2B sum_i [l(R_i, p_i) + l(C_i, p_i)],  l(R, p) = log(1 + R/p)
//   G_ij = e_ij (u_i + v_j), G_ii = -(R_i u_i + C_i v_i);  dI = s/2B G T,  dT = s/2B G^T I
//
// Neither softmax - 1 nor logsumexp - Z_ii is ever formed: late in training both cancel (in float32
// at s = 100 the plain formula has lost one digit in ten). Shape letters: B this rank's rows, N the
// columns of all ranks, D the features.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "loss/tiles.h"
#include "ops/collectives.h"
#include "ops/contrastive.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// exp(Z - reference) is what gets summed. One constant serves rows and columns alike: unit
/// features bound Z by s. `row_B1` and `column_N` replace it where sums under- or overflow.
struct Reference {
  double constant = 0;
  at::Tensor row_B1, column_N;
  [[nodiscard]] bool fixed() const { return !row_B1.defined(); }
};

struct Problem {
  at::Tensor image_BD, text_ND, own_text_BD;
  RowLayout layout;
  double scale = 0;
  std::int64_t tile = 0;
  std::optional<ContrastiveProblem> fused;  ///< the same for tier t1: used with the fixed reference
  [[nodiscard]] at::Tensor logits(std::int64_t first, std::int64_t columns) const {
    return at::mm(image_BD, text_ND.narrow(0, first, columns).t()).mul_(scale);
  }
  template <typename Body>
  void for_each_tile(const Body& body) const {
    for (std::int64_t first = 0; first < layout.total; first += tile) {
      body(first, std::min(tile, layout.total - first));
    }
  }
};

/// Terms of one side; the columns' are known to all ranks, the rows' to their owner.
struct Side {
  at::Tensor others;    ///< off-diagonal sum: R or C
  at::Tensor positive;  ///< p
  at::Tensor exponent;  ///< Z_ii - reference, own rows only
};

struct Statistics {
  Side row_B, column_N;
  bool safe = true;
};

[[nodiscard]] at::Tensor own(const at::Tensor& column_N, const RowLayout& layout,
                             const at::Tensor& rows) {
  return column_N.narrow(0, layout.offset, rows.size(0));
}

/// exp(Z - reference) of the rows, and of the columns where they have a reference of their own.
struct Exponentials {
  at::Tensor row_BN, column_BN;  ///< the same tensor with the fixed reference
};

[[nodiscard]] Exponentials exponentials(const Problem& problem, const Reference& reference,
                                        std::int64_t first, std::int64_t columns) {
  at::Tensor logits = problem.logits(first, columns);
  Exponentials e;
  if (reference.fixed()) {
    if (reference.constant != 0) logits.sub_(reference.constant);
    e.row_BN = e.column_BN = logits.exp_();
  } else {
    e.row_BN = (logits - reference.row_B1).exp_();
    e.column_BN = logits.sub_(reference.column_N.narrow(0, first, columns)).exp_();
  }
  for (const at::Tensor* tile : {&e.row_BN, &e.column_BN}) {
    const auto positives = positives_in_tile(*tile, first, problem.layout.offset);
    if (positives.view.defined()) positives.view.zero_();
  }
  return e;
}

/// This rank's part of the sums, and the logits of its positives.
struct PartialSums {
  at::Tensor row_B, column_N, diagonal_B;
};

[[nodiscard]] PartialSums partial_sums(const Problem& problem, const Reference& reference) {
  if (problem.fused && reference.fixed()) {
    const ContrastiveStatistics sums = contrastive_statistics(*problem.fused);
    return {sums.row_B, sums.column_N, sums.positive_B * problem.scale};
  }
  const auto options = problem.image_BD.options();
  PartialSums out{at::zeros({problem.image_BD.size(0)}, options),
                  at::empty({problem.layout.total}, options),
                  (problem.image_BD * problem.own_text_BD).sum(1).mul_(problem.scale)};
  problem.for_each_tile([&](std::int64_t first, std::int64_t columns) {
    const Exponentials e = exponentials(problem, reference, first, columns);
    out.row_B.add_(e.row_BN.sum(1));
    out.column_N.narrow(0, first, columns).copy_(e.column_BN.sum(0));
  });
  return out;
}

/// Pass 1. Column sums, positives and the flag of bad rows travel in one all-reduce; each
/// positive is non-zero on its owner alone, so its sum is exact.
[[nodiscard]] Statistics sum_terms(const Problem& problem, const Reference& reference,
                                   Communicator& ranks) {
  const RowLayout& layout = problem.layout;
  const PartialSums sums = partial_sums(problem, reference);
  Statistics out;
  out.row_B.exponent = reference.fixed() ? sums.diagonal_B - reference.constant
                                         : sums.diagonal_B - reference.row_B1.squeeze(1);
  out.column_N.exponent = reference.fixed()
                              ? out.row_B.exponent
                              : sums.diagonal_B - own(reference.column_N, layout, problem.image_BD);
  out.row_B.positive = out.row_B.exponent.exp();
  out.row_B.others = sums.row_B;
  const at::Tensor packed = at::zeros({2 * layout.total + 1}, problem.image_BD.options());
  out.column_N.others = packed.narrow(0, 0, layout.total).copy_(sums.column_N);
  out.column_N.positive = packed.narrow(0, layout.total, layout.total);
  own(out.column_N.positive, layout, problem.image_BD).copy_(out.column_N.exponent.exp());
  const double smallest = smallest_safe_sum(problem.image_BD.scalar_type(), layout.total);
  const auto unsafe = [smallest](const Side& side) {
    const at::Tensor sum = side.others + side.positive;
    return ((sum >= smallest) & (sum < std::numeric_limits<double>::infinity())).logical_not();
  };
  packed.narrow(0, 2 * layout.total, 1).copy_(unsafe(out.row_B).any());
  all_reduce(packed, Reduce::sum, ranks);
  const at::Tensor any = unsafe(out.column_N).any() | (packed[2 * layout.total] != 0);
  out.safe = !any.item<bool>();
  return out;
}

/// The largest logit of each row and of each column.
[[nodiscard]] Reference largest_logits(const Problem& problem, Communicator& ranks) {
  const double lowest = -std::numeric_limits<double>::infinity();
  Reference reference;
  reference.row_B1 = at::full({problem.image_BD.size(0), 1}, lowest, problem.image_BD.options());
  reference.column_N = at::full({problem.layout.total}, lowest, problem.image_BD.options());
  problem.for_each_tile([&](std::int64_t first, std::int64_t columns) {
    const at::Tensor logits = problem.logits(first, columns);
    if (logits.size(0) == 0) return;
    reference.row_B1.copy_(at::maximum(reference.row_B1, logits.amax(1, /*keepdim=*/true)));
    reference.column_N.narrow(0, first, columns).copy_(logits.amax(0));
  });
  all_reduce(reference.column_N, Reduce::max, ranks);
  return reference;
}

struct Gradients {
  at::Tensor image_BD, text_ND;  ///< G T and G^T I, this rank's part of the latter
  at::Tensor sum_Gx;             ///< double: this rank's rows
  bool consistent = true;        ///< the three-way identity of plumbline/loss.h
};

/// Products with a wrong element are found here, before they reach a weight. Non-finite ones pass:
/// they come out as such.
[[nodiscard]] bool agree(const ContrastiveProducts& products, const ContrastiveProblem& problem) {
  const at::Tensor image = sum_of_products(problem.image_BD, products.image_BD);
  const at::Tensor text = sum_of_products(problem.text_ND, products.text_ND);
  const at::Tensor sums = at::cat({products.sums_3, image.view({1}), text.view({1})}).cpu();
  const auto value = sums.accessor<double, 1>();
  const double allowed = 1e-4 * value[2];
  return !(std::abs(value[3] - value[1]) > allowed || std::abs(value[4] - value[1]) > allowed);
}

/// Pass 2 by tier t0: tiles of G, and the two products with them.
[[nodiscard]] Gradients multiply_tiles(const Problem& problem, const Reference& reference,
                                       const at::Tensor& u_B, const at::Tensor& v_N,
                                       const at::Tensor& diagonal_B) {
  const RowLayout& layout = problem.layout;
  const at::Tensor u_B1 = u_B.unsqueeze(1);
  Gradients out{.image_BD = at::zeros_like(problem.image_BD),
                .text_ND = at::empty_like(problem.text_ND),
                .sum_Gx = {}};
  problem.for_each_tile([&](std::int64_t first, std::int64_t columns) {
    const Exponentials e = exponentials(problem, reference, first, columns);
    const at::Tensor v = v_N.narrow(0, first, columns);
    at::Tensor G_BN =
        reference.fixed() ? e.row_BN.mul_(u_B1 + v) : e.row_BN.mul_(u_B1).add_(e.column_BN.mul_(v));
    const auto positives = positives_in_tile(G_BN, first, layout.offset);
    if (positives.view.defined()) {
      positives.view.copy_(diagonal_B.narrow(0, positives.first_row, positives.rows));
    }
    out.image_BD.addmm_(G_BN, problem.text_ND.narrow(0, first, columns));
    at::Tensor text = out.text_ND.narrow(0, first, columns);
    at::mm_out(text, G_BN.t(), problem.image_BD);
  });
  // sum_ij G_ij x_ij without another pass: x_ij = <I_i, T_j>.
  out.sum_Gx = (problem.image_BD * out.image_BD).sum(at::kDouble);
  return out;
}

/// Pass 2: G from the sums of all ranks, and the products with it.
[[nodiscard]] Gradients multiply(const Problem& problem, const Reference& reference,
                                 const Statistics& sums) {
  const at::Tensor u_B = (sums.row_B.others + sums.row_B.positive).reciprocal_();
  const at::Tensor v_N = (sums.column_N.others + sums.column_N.positive).reciprocal_();
  const at::Tensor diagonal_B =
      (sums.row_B.others * u_B + own(sums.column_N.others * v_N, problem.layout, problem.image_BD))
          .neg_();
  if (!problem.fused || !reference.fixed()) {
    return multiply_tiles(problem, reference, u_B, v_N, diagonal_B);
  }
  const ContrastiveProducts products = contrastive_products(
      *problem.fused, u_B.to(at::kFloat), v_N.to(at::kFloat), diagonal_B.to(at::kFloat));
  return {.image_BD = products.image_BD,
          .text_ND = products.text_ND,
          .sum_Gx = products.sums_3[0],
          .consistent = agree(products, *problem.fused)};
}

[[nodiscard]] bool use_fused(const LossInput& input) {
  const bool is_float = input.image_BD.scalar_type() == at::kFloat;
  if (input.tier == LossTier::t1 && !is_float) {
    throw UsageError("loss.tier: t1 takes float32 features, not float64");
  }
  return input.tier == LossTier::t1 ||
         (input.tier == LossTier::automatic && is_float && input.image_BD.is_cpu());
}

[[nodiscard]] Problem problem_of(const LossInput& input, Communicator& ranks) {
  Problem problem;
  const bool fused = use_fused(input);
  // Tier t1 of a GPU sees bfloat16 features throughout, so that all its sums are of the same x.
  const auto as_seen = [&](const at::Tensor& x_BD) {
    return x_BD.detach().to(fused && x_BD.is_cuda() ? at::kBFloat16 : x_BD.scalar_type());
  };
  problem.image_BD = as_seen(input.image_BD).contiguous();
  problem.own_text_BD = as_seen(input.text_BD);
  problem.layout = agree_on_rows(problem.image_BD, ranks);
  problem.text_ND = gather_rows(problem.own_text_BD, problem.layout, ranks);
  problem.scale = read_logit_scale(input);
  problem.tile = tile_columns(problem.image_BD, problem.layout.total);
  if (fused) {
    problem.fused = ContrastiveProblem{
        .image_BD = problem.image_BD,
        .text_ND = problem.text_ND,
        .offset = problem.layout.offset,
        .scale = at::full({}, problem.scale, problem.image_BD.options().dtype(at::kFloat))};
  }
  if (problem.image_BD.scalar_type() == at::kBFloat16) {  // what t0's slow path needs
    problem.image_BD = problem.image_BD.to(at::kFloat);
    problem.own_text_BD = problem.own_text_BD.to(at::kFloat);
    problem.text_ND = problem.text_ND.to(at::kFloat);
  }
  return problem;
}

}  // namespace

LossOutput clip_loss(const LossInput& input, Communicator& ranks) {
  const at::NoGradGuard no_grad;
  check_loss_input(input, "clip");
  const Problem problem = problem_of(input, ranks);
  constexpr std::int64_t kMostRows = 1 << 24;  // sums of that many terms stay in float32's range
  if (problem.layout.total > kMostRows) {
    throw Error(
        str("clip loss: a global batch of ", problem.layout.total, " is above ", kMostRows));
  }
  // e <= exp(70.8) for unit features of whatever rounding, so sums stay finite.
  Reference reference{
      .constant = std::max(problem.scale - 70.0, 0.0), .row_B1 = {}, .column_N = {}};
  Statistics sums = sum_terms(problem, reference, ranks);
  if (!sums.safe) {
    reference = largest_logits(problem, ranks);
    sums = sum_terms(problem, reference, ranks);
  }
  const auto owned = [&](const at::Tensor& t) { return own(t, problem.layout, problem.image_BD); };
  const double two_B = 2.0 * static_cast<double>(problem.layout.total);
  const at::Tensor losses =
      row_loss(sums.row_B.others, sums.row_B.positive, sums.row_B.exponent) +
      row_loss(owned(sums.column_N.others), owned(sums.column_N.positive), sums.column_N.exponent);
  const Gradients G = multiply(problem, reference, sums);

  const at::Tensor shared = at::zeros({2}, losses.options().dtype(at::kDouble));
  shared[0] = losses.sum(at::kDouble).div_(two_B);
  shared[1] = G.consistent ? 0.0 : 1.0;
  all_reduce(shared, Reduce::sum, ranks);
  if (problem.fused && shared[1].item<double>() != 0) {
    throw Error(str("clip loss: on ", shared[1].item<double>(),
                    " rank(s) the gradients contradict each other: a processor or its memory "
                    "computes wrongly (this is rank ",
                    ranks.rank(), G.consistent ? ", not one of them)" : ", one of them)"));
  }
  LossOutput out;
  out.loss = shared[0];
  out.d_logit_scale = (G.sum_Gx * (problem.scale / two_B))
                          .to(input.logit_scale.scalar_type())
                          .view_as(input.logit_scale);
  out.d_image_BD = G.image_BD.mul_(problem.scale / two_B);
  out.d_text_BD = scatter_row_sums(G.text_ND, problem.layout, ranks).mul_(problem.scale / two_B);
  return out;
}

}  // namespace plumbline
