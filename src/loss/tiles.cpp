#include "loss/tiles.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "plumbline/error.h"

namespace plumbline {

void check_loss_input(const LossInput& input, std::string_view loss) {
  const at::Tensor& image = input.image_BD;
  const at::Tensor& text = input.text_BD;
  require(image.dim() == 2 && image.sizes() == text.sizes() &&
              image.scalar_type() == text.scalar_type() && image.device() == text.device(),
          plumbline::str(loss, " loss: features differ: ", image.sizes(), " and ", text.sizes()));
  require(image.scalar_type() == at::kFloat || image.scalar_type() == at::kDouble,
          str(loss, " loss takes float32 or float64 features, not ",
              at::toString(image.scalar_type())));
  require(input.logit_scale.defined() && input.logit_scale.numel() == 1,
          str(loss, " loss needs one logit scale"));
}

double read_logit_scale(const LossInput& input) {
  return std::min(input.logit_scale.detach().exp().item<double>(), input.max_logit_scale);
}

std::int64_t tile_columns(const at::Tensor& rows_BD, std::int64_t columns) {
  const std::int64_t tile_bytes = std::int64_t{rows_BD.is_cuda() ? 32 : 4} << 20;
  const std::int64_t row_bytes = std::max<std::int64_t>(1, rows_BD.size(0)) *
                                 static_cast<std::int64_t>(rows_BD.element_size());
  constexpr std::int64_t kNarrowest = 256, kWidest = 8192;  // narrower GEMMs lose speed
  return std::min(columns, std::clamp(tile_bytes / row_bytes, kNarrowest, kWidest));
}

PositivesInTile positives_in_tile(const at::Tensor& tile_BN, std::int64_t first,
                                  std::int64_t offset) {
  const std::int64_t begin = std::max(first, offset);
  const std::int64_t end = std::min(first + tile_BN.size(1), offset + tile_BN.size(0));
  if (begin >= end) return {};
  PositivesInTile out{.view = {}, .first_row = begin - offset, .rows = end - begin};
  out.view =
      tile_BN.narrow(0, out.first_row, out.rows).narrow(1, begin - first, out.rows).diagonal();
  return out;
}

double smallest_safe_sum(at::ScalarType type, std::int64_t terms) {
  // `terms` values below the smallest normal number, flushed to zero, stay under half a unit in
  // the last place of such a sum.
  const double n = static_cast<double>(terms);
  if (type == at::kFloat) return n * std::ldexp(1.0, -126 + 24);
  return n * std::ldexp(1.0, -1022 + 53);
}

at::Tensor row_loss(const at::Tensor& R, const at::Tensor& p, const at::Tensor& z) {
  return at::where(R <= p, at::log1p(R / p), at::log(R + p) - z);
}

}  // namespace plumbline
