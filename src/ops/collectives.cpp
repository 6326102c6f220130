#include "ops/collectives.h"

#include <algorithm>
#include <numeric>

#include "ops/device.h"
#include "plumbline/error.h"

namespace plumbline {

ElementType element_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return ElementType::f32;
    case at::kDouble:
      return ElementType::f64;
    case at::kBFloat16:
      return ElementType::bf16;
    case at::kInt:
      return ElementType::i32;
    case at::kLong:
      return ElementType::i64;
    case at::kByte:
      return ElementType::u8;
    default:
      throw Error(str("no collective carries tensors of type ", at::toString(type)));
  }
}

void all_reduce(const at::Tensor& tensor, Reduce op, Communicator& ranks) {
  if (ranks.size() == 1) return;
  require(tensor.is_contiguous(), "all_reduce of a tensor that is not contiguous");
  ranks.all_reduce(tensor.data_ptr(), tensor.numel(), element_type(tensor.scalar_type()), op,
                   current_stream(tensor.device()));
}

RowLayout agree_on_rows(const at::Tensor& rows_BD, Communicator& ranks) {
  const std::int64_t width = rows_BD.size(1);
  at::Tensor shapes = at::tensor({rows_BD.size(0), width}, at::kLong).to(rows_BD.device());
  if (ranks.size() > 1) {
    at::Tensor all = at::empty({ranks.size(), 2}, shapes.options());
    ranks.all_gather(shapes.data_ptr(), all.data_ptr(), 2, ElementType::i64,
                     current_stream(rows_BD.device()));
    shapes = all;
  }
  shapes = shapes.view({-1, 2}).cpu();
  RowLayout layout;
  for (std::int64_t rank = 0; rank < shapes.size(0); ++rank) {
    const auto* shape = shapes.const_data_ptr<std::int64_t>() + 2 * rank;
    const std::int64_t first_width = shapes.const_data_ptr<std::int64_t>()[1];
    if (shape[1] != first_width) {
      throw Error(str("feature widths differ: rank 0 has ", first_width, ", rank ", rank, " has ",
                      shape[1]));
    }
    layout.rows.push_back(shape[0]);
  }
  const auto mine = layout.rows.begin() + ranks.rank();
  layout.offset = std::accumulate(layout.rows.begin(), mine, std::int64_t{0});
  layout.total = std::accumulate(mine, layout.rows.end(), layout.offset);
  layout.largest = *std::max_element(layout.rows.begin(), layout.rows.end());
  return layout;
}

namespace {

[[nodiscard]] bool is_regular(const RowLayout& layout) {
  return layout.total == layout.largest * std::ssize(layout.rows);
}

}  // namespace

at::Tensor gather_rows(const at::Tensor& rows_BD, const RowLayout& layout, Communicator& ranks) {
  if (ranks.size() == 1) return rows_BD.contiguous();
  const std::int64_t width = rows_BD.size(1);
  at::Tensor mine = rows_BD.contiguous();
  if (mine.size(0) < layout.largest) {
    mine = at::zeros({layout.largest, width}, rows_BD.options());
    mine.narrow(0, 0, rows_BD.size(0)).copy_(rows_BD);
  }
  at::Tensor all = at::empty({ranks.size() * layout.largest, width}, rows_BD.options());
  ranks.all_gather(mine.data_ptr(), all.data_ptr(), mine.numel(), element_type(mine.scalar_type()),
                   current_stream(mine.device()));
  if (is_regular(layout)) return all;
  std::vector<at::Tensor> parts;
  for (std::size_t rank = 0; rank < layout.rows.size(); ++rank) {
    parts.push_back(
        all.narrow(0, static_cast<std::int64_t>(rank) * layout.largest, layout.rows[rank]));
  }
  return at::cat(parts);
}

at::Tensor scatter_row_sums(const at::Tensor& sums_BD, const RowLayout& layout,
                            Communicator& ranks) {
  if (ranks.size() == 1) return sums_BD;
  const std::int64_t width = sums_BD.size(1);
  at::Tensor send = sums_BD;
  if (!is_regular(layout)) {
    send = at::zeros({ranks.size() * layout.largest, width}, sums_BD.options());
    std::int64_t first = 0;
    for (std::size_t rank = 0; rank < layout.rows.size(); ++rank) {
      const std::int64_t rows = layout.rows[rank];
      send.narrow(0, static_cast<std::int64_t>(rank) * layout.largest, rows)
          .copy_(sums_BD.narrow(0, first, rows));
      first += rows;
    }
  }
  at::Tensor received = at::empty({layout.largest, width}, sums_BD.options());
  ranks.reduce_scatter(send.data_ptr(), received.data_ptr(), received.numel(),
                       element_type(send.scalar_type()), Reduce::sum,
                       current_stream(send.device()));
  return received.narrow(0, 0, layout.rows[static_cast<std::size_t>(ranks.rank())]);
}

}  // namespace plumbline
