// Collectives on tensors, ordered on the current stream of the tensors' device.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "plumbline/communicator.h"

namespace plumbline {

/// Throws Error for a type that no collective carries.
[[nodiscard]] ElementType element_type(at::ScalarType type);

/// In place; `tensor` contiguous.
void all_reduce(const at::Tensor& tensor, Reduce op, Communicator& ranks);

/// How the rows of a global batch lie over the ranks.
struct RowLayout {
  std::vector<std::int64_t> rows;  ///< of each rank
  std::int64_t offset = 0;         ///< global index of this rank's first row
  std::int64_t total = 0;
  std::int64_t largest = 0;
};

/// Collective. Throws Error, on every rank alike, when the ranks' widths differ.
[[nodiscard]] RowLayout agree_on_rows(const at::Tensor& rows_BD, Communicator& ranks);

/// [b, D] of each rank, as [B, D] in rank order. b may differ: it is padded on the way.
[[nodiscard]] at::Tensor gather_rows(const at::Tensor& rows_BD, const RowLayout& layout,
                                     Communicator& ranks);

/// Adjoint of gather_rows: [B, D] summed over ranks, of which this rank receives its own [b, D].
[[nodiscard]] at::Tensor scatter_row_sums(const at::Tensor& sums_BD, const RowLayout& layout,
                                          Communicator& ranks);

}  // namespace plumbline
