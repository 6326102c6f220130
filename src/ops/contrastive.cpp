#include "ops/contrastive.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>

#include "kernels/contrastive/contrastive.h"
#include "ops/device.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

// CPU. A tile of kMostRows x kColumns floats, its rows and columns of features (D = 512) and MKL's
// copies of them stay within 2 MB of L2. The partition follows from the shape alone.
constexpr std::int64_t kColumns = 256, kMostRows = 512, kLeastRows = 32, kBlocks = 8;
// Rows whose G of one chunk is held at once: 8 MB.
constexpr std::int64_t kGroupRows = 8192;
// CUDA: tiles of 32 MB stay in L2.
constexpr std::int64_t kDeviceTileFloats = std::int64_t{8} << 20;

[[nodiscard]] std::int64_t rows_of_block(std::int64_t rows) {
  const std::int64_t even = (rows + kBlocks - 1) / kBlocks;
  return std::clamp((even + 15) / 16 * 16, kLeastRows, kMostRows);
}

/// body(first, count) over [0, total) in steps.
template <typename Body>
void for_each_part(std::int64_t total, std::int64_t step, const Body& body) {
  for (std::int64_t first = 0; first < total; first += step) {
    body(first, std::min(step, total - first));
  }
}

[[nodiscard]] ContrastiveTile tile_of(const ContrastiveProblem& problem, const at::Tensor& x_BN,
                                      std::int64_t first_row, std::int64_t first_column) {
  return {.x_BN = x_BN.data_ptr<float>(),
          .rows = x_BN.size(0),
          .columns = x_BN.size(1),
          .stride = x_BN.stride(0),
          .first_positive = problem.offset + first_row - first_column,
          .scale = problem.scale.const_data_ptr<float>()};
}

void check(const ContrastiveProblem& problem) {
  const auto type = problem.image_BD.is_cuda() ? at::kBFloat16 : at::kFloat;
  require(problem.image_BD.scalar_type() == type && problem.text_ND.scalar_type() == type,
          "contrastive kernels take float32 rows on a CPU and bfloat16 on a GPU");
  require(problem.image_BD.is_contiguous() && problem.text_ND.is_contiguous(),
          "contrastive kernels take contiguous rows");
  require(problem.scale.scalar_type() == at::kFloat && problem.scale.numel() == 1 &&
              problem.scale.device() == problem.image_BD.device(),
          "contrastive kernels take the scale as one float32 beside the features");
}

/// <I_i, T_(offset + i)> in double.
at::Tensor dot_own_columns(const ContrastiveProblem& problem) {
  const std::int64_t rows = problem.image_BD.size(0);
  at::Tensor dot_B = at::empty({rows}, at::kDouble);
  for_each_part(rows, kLeastRows, [&](std::int64_t first, std::int64_t n) {
    const at::Tensor text = problem.text_ND.narrow(0, problem.offset + first, n).to(at::kDouble);
    dot_B.narrow(0, first, n).copy_((text * problem.image_BD.narrow(0, first, n)).sum(1));
  });
  return dot_B;
}

ContrastiveStatistics statistics_on_cpu(const ContrastiveProblem& problem) {
  const std::int64_t rows = problem.image_BD.size(0), columns = problem.text_ND.size(0);
  const std::int64_t step = rows_of_block(rows), blocks = (rows + step - 1) / step;
  const auto options = problem.image_BD.options();
  ContrastiveStatistics out{at::zeros({rows}, options), {}, dot_own_columns(problem)};
  const at::Tensor parts = at::zeros({blocks, columns}, options);
  at::parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    const at::NoGradGuard no_grad;
    const at::Tensor tile = at::empty({step, kColumns}, options);
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t row = block * step, count = std::min(step, rows - row);
      const at::Tensor image = problem.image_BD.narrow(0, row, count);
      for_each_part(columns, kColumns, [&](std::int64_t column, std::int64_t n) {
        at::Tensor x = tile.narrow(0, 0, count).narrow(1, 0, n);
        at::mm_out(x, image, problem.text_ND.narrow(0, column, n).t());
        cpu::contrastive_statistics(
            {.tile = tile_of(problem, x, row, column),
             .row_B = out.row_B.data_ptr<float>() + row,
             .column_N = parts.data_ptr<float>() + block * columns + column});
      });
    }
  });
  out.column_N = parts.sum(0);
  return out;
}

/// Weights of G's rows and columns.
struct Weights {
  const float *u_B, *v_N, *diagonal_B;
};

/// G of rows [group, group + size of g) and the columns from `column`; adds G T to d_image.
void gradient_of_chunk(const ContrastiveProblem& problem, const Weights& weights,
                       std::int64_t group, std::int64_t column, const at::Tensor& g_BN,
                       const at::Tensor& d_image_BD, const at::Tensor& sums) {
  const at::Tensor text = problem.text_ND.narrow(0, column, g_BN.size(1));
  const std::int64_t rows = g_BN.size(0), step = rows_of_block(rows);
  at::parallel_for(0, (rows + step - 1) / step, 1, [&](std::int64_t begin, std::int64_t end) {
    const at::NoGradGuard no_grad;
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block * step, count = std::min(step, rows - first);
      const std::int64_t row = group + first;
      at::Tensor g = g_BN.narrow(0, first, count);
      at::mm_out(g, problem.image_BD.narrow(0, row, count), text.t());
      cpu::contrastive_gradient({.tile = tile_of(problem, g, row, column),
                                 .u_B = weights.u_B + row,
                                 .v_N = weights.v_N + column,
                                 .diagonal_B = weights.diagonal_B + row,
                                 .g_BN = g.data_ptr(),
                                 .type = FloatType::float32,
                                 .g_stride = g.stride(0),
                                 .sums_3 = sums.data_ptr<double>() + 3 * block});
      d_image_BD.narrow(0, row, count).addmm_(g, text);
    }
  });
}

ContrastiveProducts products_on_cpu(const ContrastiveProblem& problem, const Weights& weights) {
  const std::int64_t rows = problem.image_BD.size(0), columns = problem.text_ND.size(0);
  ContrastiveProducts out{at::zeros_like(problem.image_BD), at::zeros_like(problem.text_ND), {}};
  const at::Tensor sums = at::zeros({kGroupRows / kMostRows, 3}, at::kDouble);
  const at::Tensor g =
      at::empty({std::min(rows, kGroupRows), std::min(columns, kColumns)}, at::kFloat);
  for_each_part(rows, kGroupRows, [&](std::int64_t group, std::int64_t count) {
    for_each_part(columns, kColumns, [&](std::int64_t column, std::int64_t n) {
      const at::Tensor g_BN = g.narrow(0, 0, count).narrow(1, 0, n);
      gradient_of_chunk(problem, weights, group, column, g_BN, out.image_BD, sums);
      out.text_ND.narrow(0, column, n)
          .addmm_(g_BN.t(), problem.image_BD.narrow(0, group, count), group > 0 ? 1 : 0);
    });
  });
  out.sums_3 = sums.sum(0);
  return out;
}

/// What a GPU needs beside the features: a tile, G, and the kernels' partial sums.
struct DeviceTile {
  std::int64_t columns;
  at::Tensor x_BN, workspace;
  explicit DeviceTile(const ContrastiveProblem& problem) {
    const std::int64_t rows = std::max<std::int64_t>(problem.image_BD.size(0), 1);
    const std::int64_t most = std::max<std::int64_t>(kDeviceTileFloats / rows / 256 * 256, 256);
    columns = std::min(most, (problem.text_ND.size(0) + 255) / 256 * 256);
    const auto options = problem.image_BD.options();
    x_BN = at::empty({rows, columns}, options.dtype(at::kFloat));
    workspace = at::empty({contrastive_workspace_bytes(rows, columns)}, options.dtype(at::kByte));
  }
  /// x of all rows and columns [first, first + n), bfloat16 products summed in float32.
  [[nodiscard]] at::Tensor products(const ContrastiveProblem& problem, std::int64_t first,
                                    std::int64_t n) const {
    at::Tensor x = x_BN.narrow(0, 0, problem.image_BD.size(0)).narrow(1, 0, n);
    at::mm_out(x, problem.image_BD, problem.text_ND.narrow(0, first, n).t(), at::kFloat);
    return x;
  }
};

[[nodiscard]] CUstream_st* stream_of(const ContrastiveProblem& problem) {
  return static_cast<CUstream_st*>(current_stream(problem.image_BD.device()));
}

ContrastiveStatistics statistics_on_gpu(const ContrastiveProblem& problem) {
  const c10::DeviceGuard guard(problem.image_BD.device());  // launches go to the current device
  const std::int64_t rows = problem.image_BD.size(0), columns = problem.text_ND.size(0);
  const auto options = problem.image_BD.options().dtype(at::kFloat);
  ContrastiveStatistics out{at::zeros({rows}, options), at::zeros({columns}, options),
                            at::empty({rows}, options)};
  const DeviceTile tile(problem);
  for_each_part(columns, tile.columns, [&](std::int64_t first, std::int64_t n) {
    const at::Tensor x = tile.products(problem, first, n);
    cuda::contrastive_statistics({.tile = tile_of(problem, x, 0, first),
                                  .row_B = out.row_B.data_ptr<float>(),
                                  .column_N = out.column_N.data_ptr<float>() + first,
                                  .positive_B = out.positive_B.data_ptr<float>(),
                                  .workspace = tile.workspace.data_ptr()},
                                 stream_of(problem));
  });
  return out;
}

ContrastiveProducts products_on_gpu(const ContrastiveProblem& problem, const Weights& weights) {
  const c10::DeviceGuard guard(problem.image_BD.device());
  const auto options = problem.image_BD.options().dtype(at::kFloat);
  ContrastiveProducts out{at::zeros(problem.image_BD.sizes(), options),
                          at::empty(problem.text_ND.sizes(), options),
                          at::zeros({3}, options.dtype(at::kDouble))};
  const DeviceTile tile(problem);
  const at::Tensor g_BN = at::empty(tile.x_BN.sizes(), problem.image_BD.options());
  for_each_part(problem.text_ND.size(0), tile.columns, [&](std::int64_t first, std::int64_t n) {
    const at::Tensor x = tile.products(problem, first, n);
    const at::Tensor g = g_BN.narrow(0, 0, x.size(0)).narrow(1, 0, n);
    cuda::contrastive_gradient({.tile = tile_of(problem, x, 0, first),
                                .u_B = weights.u_B,
                                .v_N = weights.v_N + first,
                                .diagonal_B = weights.diagonal_B,
                                .g_BN = g.data_ptr(),
                                .type = FloatType::bfloat16,
                                .g_stride = g.stride(0),
                                .sums_3 = out.sums_3.data_ptr<double>(),
                                .workspace = tile.workspace.data_ptr()},
                               stream_of(problem));
    const at::Tensor text = problem.text_ND.narrow(0, first, n);
    at::addmm_out(out.image_BD, out.image_BD, g, text, at::kFloat);
    at::Tensor d_text = out.text_ND.narrow(0, first, n);
    at::mm_out(d_text, g.t(), problem.image_BD, at::kFloat);
  });
  return out;
}

}  // namespace

ContrastiveStatistics contrastive_statistics(const ContrastiveProblem& problem) {
  check(problem);
  return problem.image_BD.is_cuda() ? statistics_on_gpu(problem) : statistics_on_cpu(problem);
}

ContrastiveProducts contrastive_products(const ContrastiveProblem& problem, const at::Tensor& u_B,
                                         const at::Tensor& v_N, const at::Tensor& diagonal_B) {
  check(problem);
  for (const at::Tensor* x : {&u_B, &v_N, &diagonal_B}) {
    require(x->scalar_type() == at::kFloat && x->is_contiguous(),
            "the weights of contrastive_products are contiguous float32");
  }
  const Weights weights = {u_B.const_data_ptr<float>(), v_N.const_data_ptr<float>(),
                           diagonal_B.const_data_ptr<float>()};
  return problem.image_BD.is_cuda() ? products_on_gpu(problem, weights)
                                    : products_on_cpu(problem, weights);
}

at::Tensor sum_of_products(const at::Tensor& a_BD, const at::Tensor& b_BD) {
  const std::int64_t rows = a_BD.size(0),
                     step = a_BD.is_cuda() ? std::max<std::int64_t>(rows, 1) : 256;
  at::Tensor sum = at::zeros({}, a_BD.options().dtype(at::kDouble));
  for_each_part(rows, step, [&](std::int64_t first, std::int64_t n) {
    sum.add_((a_BD.narrow(0, first, n) * b_BD.narrow(0, first, n)).sum(at::kDouble));
  });
  return sum;
}

}  // namespace plumbline
