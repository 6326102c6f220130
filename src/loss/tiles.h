// What the losses share: the scale, the width of a tile, the positives inside one.
#pragma once

#include <torch/torch.h>

#include <string_view>

#include "plumbline/loss.h"

namespace plumbline {

/// Throws InternalError unless the features are [b, D] alike, float32 or float64.
void check_loss_input(const LossInput& input, std::string_view loss);

/// min(exp(t), max_logit_scale), rounded to the type of `logit_scale` as the tensor code does.
[[nodiscard]] double read_logit_scale(const LossInput& input);

/// Columns of a tile, so that rows x columns stay in cache (CPU) or L2 (GPU).
[[nodiscard]] std::int64_t tile_columns(const at::Tensor& rows_BD, std::int64_t columns);

/// The entries (i, offset + i) of a matrix of which `tile` holds columns [first, first + n): a
/// view of those inside the tile, and the rows they are in. `view` is undefined when none is.
struct PositivesInTile {
  at::Tensor view;
  std::int64_t first_row = 0, rows = 0;
};
[[nodiscard]] PositivesInTile positives_in_tile(const at::Tensor& tile_BN, std::int64_t first,
                                                std::int64_t offset);

/// Off-diagonal sums below this have lost more than a rounding to underflow.
[[nodiscard]] double smallest_safe_sum(at::ScalarType type, std::int64_t terms);

/// log(1 + R/p), the loss of one row, given its off-positive sum R, its positive term p = exp(z)
/// and z (both relative to the same reference). Exact in both limits.
[[nodiscard]] at::Tensor row_loss(const at::Tensor& R, const at::Tensor& p, const at::Tensor& z);

}  // namespace plumbline
