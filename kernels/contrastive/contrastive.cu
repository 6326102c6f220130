// A block of 8 warps takes 64 rows by 256 columns of the tile: a warp a row at a time, a lane 4 + 4
// adjacent columns. Column sums stay in registers over the warp's 8 rows, row sums are one
// butterfly a row. Each block writes its partial sums, and a second kernel adds them in a fixed
// order.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/contrastive/contrastive.h"
#include "kernels/device/rounded.cuh"
#include "plumbline/error.h"

namespace plumbline::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kRows = static_cast<int>(kContrastiveBlockRows);
constexpr int kColumns = static_cast<int>(kContrastiveBlockColumns);
constexpr int kOwn = kColumns / 32;  // columns of a lane
constexpr float kLog2e = 1.44269504088896341f;

/// The sum over a warp, the same on every lane; always in the same order.
__device__ float warp_sum(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffU, value, step);
  return value;
}

/// exp(s x - c) as ex2(x (s log2 e) - c log2 e): one FMA and one MUFU.
struct Exponential {
  float factor, offset;
  __device__ explicit Exponential(float s)
      : factor(s * kLog2e), offset(-fmaxf(s - 70.0f, 0.0f) * kLog2e) {}
  __device__ float operator()(float x) const { return exp2f(fmaf(x, factor, offset)); }
};

/// Where a thread works: its lane's columns are first + 128 h + q, h < 2, q < 4.
struct Place {
  std::int64_t block_row, block_column, first;
  int warp, lane;
  __device__ Place()
      : block_row(static_cast<std::int64_t>(blockIdx.y) * kRows),
        block_column(static_cast<std::int64_t>(blockIdx.x) * kColumns),
        warp(static_cast<int>(threadIdx.x) / 32),
        lane(static_cast<int>(threadIdx.x) % 32) {
    first = block_column + 4 * lane;
  }
  /// Of the lane's k-th column, relative to the block.
  __device__ int column(int k) const { return 128 * (k / 4) + 4 * lane + k % 4; }
};

__device__ void load(const float* row, const Place& at, std::int64_t columns, float (&x)[kOwn]) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const std::int64_t j = at.first + 128 * h;
    if (j + 4 <= columns) {
      const float4 v = *reinterpret_cast<const float4*>(row + j);
      x[4 * h] = v.x;
      x[4 * h + 1] = v.y;
      x[4 * h + 2] = v.z;
      x[4 * h + 3] = v.w;
    } else {
#pragma unroll
      for (int q = 0; q < 4; ++q) x[4 * h + q] = j + q < columns ? row[j + q] : 0.0f;
    }
  }
}

/// The block's column of row i's positive, or -1.
__device__ int positive_of(const ContrastiveTile& tile, const Place& at, std::int64_t i) {
  const std::int64_t column = tile.first_positive + i;
  const std::int64_t inside = column - at.block_column;
  return inside >= 0 && inside < kColumns && column < tile.columns ? static_cast<int>(inside) : -1;
}

__global__ __launch_bounds__(kThreads) void statistics_kernel(ContrastiveTile tile,
                                                              float* positive_B, float* row_parts,
                                                              float* column_parts) {
  __shared__ float columns[kWarps][kColumns];
  const Place at;
  const Exponential exponential(*tile.scale);
  float column_sum[kOwn] = {};
  for (int r = at.warp; r < kRows && at.block_row + r < tile.rows; r += kWarps) {
    const std::int64_t i = at.block_row + r;
    const int positive = positive_of(tile, at, i);
    float x[kOwn];
    load(tile.x_BN + i * tile.stride, at, tile.columns, x);
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kOwn; ++k) {
      const int column = at.column(k);
      float e = exponential(x[k]);
      if (column == positive && positive_B != nullptr) positive_B[i] = x[k];
      if (column == positive || at.block_column + column >= tile.columns) e = 0;
      column_sum[k] += e;
      sum += e;
    }
    sum = warp_sum(sum);
    if (at.lane == 0) row_parts[blockIdx.x * tile.rows + i] = sum;
  }
#pragma unroll
  for (int k = 0; k < kOwn; ++k) columns[at.warp][at.column(k)] = column_sum[k];
  __syncthreads();
  const std::int64_t column = at.block_column + threadIdx.x;
  if (column >= tile.columns) return;
  float sum = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) sum += columns[w][threadIdx.x];
  column_parts[blockIdx.y * tile.columns + column] = sum;
}

/// row_B += its parts, column_N += its parts.
__global__ void add_parts(const float* row_parts, const float* column_parts, ContrastiveTile tile,
                          std::int64_t across, std::int64_t down, float* row_B, float* column_N) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const bool is_row = n < tile.rows;
  const std::int64_t i = is_row ? n : n - tile.rows;
  if (!is_row && i >= tile.columns) return;
  const float* parts = is_row ? row_parts : column_parts;
  const std::int64_t count = is_row ? across : down, stride = is_row ? tile.rows : tile.columns;
  float sum = 0;
  for (std::int64_t k = 0; k < count; ++k) sum += parts[k * stride + i];
  float* out = is_row ? row_B : column_N;
  out[i] += sum;
}

template <typename T>
struct alignas(4 * sizeof(T)) Four {
  T v[4];
};

/// Rounds the lane's values to T, stores them, and leaves in g what was stored.
template <typename T>
__device__ void store(T* row, const Place& at, std::int64_t columns, float (&g)[kOwn]) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const std::int64_t j = at.first + 128 * h;
    Four<T> values;
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      values.v[q] = rounded<T>(g[4 * h + q]);
      g[4 * h + q] = static_cast<float>(values.v[q]);
    }
    if (j + 4 <= columns) {
      *reinterpret_cast<Four<T>*>(row + j) = values;
    } else {
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        if (j + q < columns) row[j + q] = values.v[q];
      }
    }
  }
}

/// The block's three sums, to parts[k * blocks + block].
__device__ void store_sums(const float (&sums)[3], const Place& at, float* parts) {
  __shared__ float warps[3][kWarps];
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    const float sum = warp_sum(sums[k]);
    if (at.lane == 0) warps[k][at.warp] = sum;
  }
  __syncthreads();
  if (threadIdx.x >= 3) return;
  float sum = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) sum += warps[threadIdx.x][w];
  const std::int64_t blocks = static_cast<std::int64_t>(gridDim.x) * gridDim.y;
  parts[threadIdx.x * blocks + static_cast<std::int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] =
      sum;
}

template <typename T>
__global__ __launch_bounds__(kThreads) void gradient_kernel(ContrastiveGradientParams p,
                                                            float* parts) {
  const ContrastiveTile& tile = p.tile;
  const Place at;
  const Exponential exponential(*tile.scale);
  float v[kOwn];
  load(p.v_N, at, tile.columns, v);
  float sums[3] = {0, 0, 0};
  for (int r = at.warp; r < kRows && at.block_row + r < tile.rows; r += kWarps) {
    const std::int64_t i = at.block_row + r;
    const int positive = positive_of(tile, at, i);
    const float u = p.u_B[i];
    float x[kOwn], g[kOwn];
    load(tile.x_BN + i * tile.stride, at, tile.columns, x);
#pragma unroll
    for (int k = 0; k < kOwn; ++k) {
      const int column = at.column(k);
      g[k] = exponential(x[k]) * (u + v[k]);
      if (column == positive) g[k] = p.diagonal_B[i];
      if (at.block_column + column >= tile.columns) g[k] = 0;
      sums[0] += g[k] * x[k];
    }
    store<T>(static_cast<T*>(p.g_BN) + i * p.g_stride, at, tile.columns, g);
#pragma unroll
    for (int k = 0; k < kOwn; ++k) {
      sums[1] += g[k] * x[k];
      sums[2] += fabsf(g[k] * x[k]);
    }
  }
  store_sums(sums, at, parts);
}

/// One block: sums_3[k] += the parts, in double, thread by thread and then lane by lane.
__global__ __launch_bounds__(kThreads) void add_sums(const float* parts, std::int64_t blocks,
                                                     double* sums_3) {
  __shared__ double threads[kThreads];
  for (int k = 0; k < 3; ++k) {
    double sum = 0;
    for (std::int64_t b = threadIdx.x; b < blocks; b += kThreads) {
      sum += static_cast<double>(parts[k * blocks + b]);
    }
    threads[threadIdx.x] = sum;
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (static_cast<int>(threadIdx.x) < half) {
        threads[threadIdx.x] += threads[threadIdx.x + half];
      }
      __syncthreads();
    }
    if (threadIdx.x == 0) sums_3[k] += threads[0];
    __syncthreads();
  }
}

bool misaligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0; }

struct Grid {
  std::int64_t across, down;
  explicit Grid(const ContrastiveTile& tile)
      : across((tile.columns + kColumns - 1) / kColumns), down((tile.rows + kRows - 1) / kRows) {}
  [[nodiscard]] dim3 blocks() const {
    return {static_cast<unsigned>(across), static_cast<unsigned>(down)};
  }
};

template <typename Params>
void check_device(const Params& p) {
  constexpr std::int64_t kMostRows = std::int64_t{65535} * kRows;  // of gridDim.y
  if (p.tile.stride % 4 != 0 || p.tile.rows > kMostRows) {
    throw InternalError(shape_of(p) + ": a stride that is no multiple of 4, or too many rows");
  }
  if (misaligned(p.tile.x_BN) || misaligned(p.workspace) || p.workspace == nullptr) {
    throw InternalError(shape_of(p) + ": tile and workspace must be 16-byte aligned");
  }
}

template <typename Params>
void check_launch(const Params& p) {
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    throw Error(shape_of(p) + ": " + cudaGetErrorString(error));
  }
}

}  // namespace

void check_contrastive_device(int index) {
  int major = 0, minor = 0;
  const cudaError_t error =
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index);
  if (error != cudaSuccess) {
    throw UsageError(str("loss.tier: t1 on GPU ", index, ": ", cudaGetErrorString(error)));
  }
  (void)cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index);
  if (major < 8) {
    throw UsageError(
        str("loss.tier: t1 needs compute capability 8.0, GPU ", index, " has ", major, ".", minor));
  }
}

void contrastive_statistics(const ContrastiveStatisticsParams& p, CUstream_st* stream) {
  check_contrastive(p);
  if (p.tile.rows * p.tile.columns == 0) return;
  check_device(p);
  const Grid grid(p.tile);
  auto* row_parts = static_cast<float*>(p.workspace);
  float* column_parts = row_parts + grid.across * p.tile.rows;
  (void)cudaGetLastError();  // an older error is not this launch's
  statistics_kernel<<<grid.blocks(), kThreads, 0, stream>>>(p.tile, p.positive_B, row_parts,
                                                            column_parts);
  const std::int64_t sums = p.tile.rows + p.tile.columns;
  add_parts<<<static_cast<unsigned>((sums + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
      row_parts, column_parts, p.tile, grid.across, grid.down, p.row_B, p.column_N);
  check_launch(p);
}

void contrastive_gradient(const ContrastiveGradientParams& p, CUstream_st* stream) {
  check_contrastive(p);
  if (p.tile.rows * p.tile.columns == 0) return;
  check_device(p);
  if (p.g_stride % 4 != 0 || misaligned(p.g_BN) || misaligned(p.v_N)) {
    throw InternalError(shape_of(p) + ": G and v must be 16-byte aligned, G's stride in fours");
  }
  const Grid grid(p.tile);
  auto* parts = static_cast<float*>(p.workspace);
  (void)cudaGetLastError();
  if (p.type == FloatType::float32) {
    gradient_kernel<float><<<grid.blocks(), kThreads, 0, stream>>>(p, parts);
  } else {
    gradient_kernel<__nv_bfloat16><<<grid.blocks(), kThreads, 0, stream>>>(p, parts);
  }
  add_sums<<<1, kThreads, 0, stream>>>(parts, grid.across * grid.down, p.sums_3);
  check_launch(p);
}

}  // namespace plumbline::cuda
