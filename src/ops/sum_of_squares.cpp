#include "ops/sum_of_squares.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <vector>

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

/// Blocks are summed by all threads and added up in order: the number of threads does not matter.
template <typename T>
[[nodiscard]] double blocked_sum_of_squares(const at::Tensor& x) {
  const T* data = x.const_data_ptr<T>();
  std::vector<double> sums(static_cast<std::size_t>((x.numel() + kBlock - 1) / kBlock));
  at::parallel_for(0, std::ssize(sums), 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block * kBlock;
      sums[static_cast<std::size_t>(block)] =
          sum_of_squares(data + first, std::min(kBlock, x.numel() - first));
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
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
