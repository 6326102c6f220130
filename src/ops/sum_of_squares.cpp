#include "ops/sum_of_squares.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>

namespace plumbline {
namespace {

constexpr std::int64_t kBlock = 1 << 16;

template <typename T>
[[nodiscard]] double sum_of_squares(const T* x, std::int64_t count) {
  // Lanes of their own let the compiler vectorise without reordering a sum.
  constexpr std::int64_t kLanes = 8;
  std::array<double, kLanes> lane{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) {
      const double v = static_cast<double>(x[i + k]);
      lane[static_cast<std::size_t>(k)] += v * v;
    }
  }
  double sum = std::accumulate(lane.begin(), lane.end(), 0.0);
  for (; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

template <typename T>
[[nodiscard]] double blocked_sum_of_squares(const at::Tensor& x) {
  const T* data = x.const_data_ptr<T>();
  double sum = 0;
  for (std::int64_t first = 0; first < x.numel(); first += kBlock) {
    sum += sum_of_squares(data + first, std::min(kBlock, x.numel() - first));
  }
  return sum;
}

}  // namespace

double sum_of_squares(const at::Tensor& tensor) {
  if (tensor.is_cpu() && tensor.is_contiguous()) {
    if (tensor.scalar_type() == at::kFloat) return blocked_sum_of_squares<float>(tensor);
    if (tensor.scalar_type() == at::kDouble) return blocked_sum_of_squares<double>(tensor);
  }
  const double norm =
      at::linalg_vector_norm(tensor, 2, std::nullopt, false, at::kDouble).item<double>();
  return norm * norm;
}

}  // namespace plumbline
