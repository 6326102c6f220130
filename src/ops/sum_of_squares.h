// Norms of gradients: sums that repeat bit for bit.
#pragma once

#include <torch/torch.h>

namespace plumbline {

/// Sum of squares of all elements in double, in an order that depends on the size alone.
[[nodiscard]] double sum_of_squares(const at::Tensor& tensor);

}  // namespace plumbline
