// The matrix products of the row-block CLIP loss with the fused elementwise passes of
// kernels/contrastive between them, chunk by chunk of columns: memory is O(rows), whatever N.
#pragma once

#include <torch/torch.h>

namespace plumbline {

/// Rows of this rank against the columns of all ranks; row i's positive is column offset + i.
struct ContrastiveProblem {
  at::Tensor image_BD, text_ND;  ///< unit rows, contiguous: CPU float32, CUDA bfloat16
  std::int64_t offset = 0;
  at::Tensor scale;  ///< s, one float32 on the same device
};

/// Sums of e = exp(s x - max(s - 70, 0)) over all but the positives, and x_ii.
struct ContrastiveStatistics {
  at::Tensor row_B, column_N;  ///< float32
  at::Tensor positive_B;       ///< CPU: double, as rounding here is multiplied by s; CUDA: float32
};

/// 2 B N D FLOP. The result does not depend on the number of threads.
[[nodiscard]] ContrastiveStatistics contrastive_statistics(const ContrastiveProblem& problem);

/// G T, G^T I and sums over G_ij x_ij, with G_ij = e_ij (u_i + v_j) and G_ii = diagonal_i.
struct ContrastiveProducts {
  at::Tensor image_BD, text_ND;  ///< float32
  at::Tensor sums_3;  ///< double: sum Gx, and of G as rounded for the products: sum Gx, sum |Gx|
};

/// 6 B N D FLOP.
[[nodiscard]] ContrastiveProducts contrastive_products(const ContrastiveProblem& problem,
                                                       const at::Tensor& u_B, const at::Tensor& v_N,
                                                       const at::Tensor& diagonal_B);

/// sum_ij a_ij b_ij in double, without a temporary of their size. CPU: in slices of rows.
[[nodiscard]] at::Tensor sum_of_products(const at::Tensor& a_BD, const at::Tensor& b_BD);

}  // namespace plumbline
