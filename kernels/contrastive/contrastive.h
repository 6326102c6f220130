// The two elementwise passes of the row-block CLIP loss over one tile of x = I T^T, on which the
// matrix products around them (src/ops/contrastive.cpp) are built. With s = *scale and
// c = max(s - 70, 0):
//
//   statistics   e_ij = exp(s x_ij - c);  R_i += sum of e over the tile's columns, C_j += sum over
//                its rows, both without the positives; x_ii of the positives
//   gradient     G_ij = e_ij (u_i + v_j), of a positive the given G_ii;  sum Gx, sum G'x, sum |G'x|
//                with G' = G as stored (rounded to bfloat16 or not)
//
// The constant reference c serves rows and columns alike: unit rows bound x by 1 + 2^-8 in any
// rounding, so e <= exp(70.8), and sums of 2^24 terms stay in range.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/bfloat16.h"

struct CUstream_st;  // *cudaStream_t, without the CUDA header

namespace plumbline {

/// Tile of dot products, float32. Row i's positive is column first_positive + i; where that is
/// outside [0, columns) the row has none in this tile.
struct ContrastiveTile {
  float* x_BN = nullptr;     ///< CUDA: 16-byte aligned
  std::int64_t rows = 0;     ///< B
  std::int64_t columns = 0;  ///< N
  std::int64_t stride = 0;   ///< elements between rows, >= columns; CUDA: a multiple of 4
  std::int64_t first_positive = 0;
  const float* scale = nullptr;  ///< s, one value; read when the kernel runs
};

struct ContrastiveStatisticsParams {
  ContrastiveTile tile;
  float* row_B = nullptr;       ///< R, added to
  float* column_N = nullptr;    ///< C, added to
  float* positive_B = nullptr;  ///< x_ii, written where the tile has it; may be null
  void* workspace = nullptr;    ///< CUDA: 16-byte aligned
};

struct ContrastiveGradientParams {
  ContrastiveTile tile;
  const float* u_B = nullptr;
  const float* v_N = nullptr;
  const float* diagonal_B = nullptr;  ///< G_ii
  void* g_BN = nullptr;               ///< [B, N] of `type`; float32 may be the tile itself
  FloatType type = FloatType::float32;
  std::int64_t g_stride = 0;
  double* sums_3 = nullptr;   ///< sum Gx, sum G'x, sum |G'x|; added to
  void* workspace = nullptr;  ///< CUDA: 16-byte aligned
};

namespace cpu {
/// Reference and CPU path, vectorised, one thread. Overwrites nothing of the tile.
/// Zero rows or columns do nothing. Throws InternalError with the shape for a negative size, a
/// stride below the columns or a null pointer. NaN comes out as NaN, a sum out of range as
/// infinity.
void contrastive_statistics(const ContrastiveStatisticsParams& params);
void contrastive_gradient(const ContrastiveGradientParams& params);
}  // namespace cpu

namespace cuda {
/// The same on device pointers, in order on `stream`, bit for bit repeatable (two-stage sums in
/// fixed order); they allocate nothing and do not synchronise. Cost: 4 BN bytes read, 2 or 4 BN
/// written, BN exponentials: at home in L2 for tiles of up to 32 MB.
/// Throws InternalError as cpu:: does, also for misaligned pointers; Error with the shape and
/// CUDA's words when a launch fails, or when the program was built without nvcc.
void contrastive_statistics(const ContrastiveStatisticsParams& params, CUstream_st* stream);
void contrastive_gradient(const ContrastiveGradientParams& params, CUstream_st* stream);

/// Throws UsageError unless device `index` is there and has compute capability 8.0 or more.
void check_contrastive_device(int index);
}  // namespace cuda

/// Bytes of workspace that cuda:: needs for either of the two.
[[nodiscard]] std::int64_t contrastive_workspace_bytes(std::int64_t rows, std::int64_t columns);

/// Rows and columns that one CUDA block sums; the partial sums of workspace_bytes follow from them.
inline constexpr std::int64_t kContrastiveBlockRows = 64, kContrastiveBlockColumns = 256;

/// "contrastive_statistics of [B, N]"; for messages.
[[nodiscard]] std::string shape_of(const ContrastiveStatisticsParams& params);
[[nodiscard]] std::string shape_of(const ContrastiveGradientParams& params);
/// Throw InternalError unless sizes and pointers are ones that both implementations accept.
void check_contrastive(const ContrastiveStatisticsParams& params);
void check_contrastive(const ContrastiveGradientParams& params);

}  // namespace plumbline
