// Row by row: a row's positive splits it in two runs of negatives, and each run is one vector loop.
#include "kernels/contrastive/contrastive.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "plumbline/error.h"

// One object for every x86: the loops below are compiled three times, the processor picks.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PLUMBLINE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PLUMBLINE_CLONES
#endif

namespace plumbline {
namespace {

/// exp(x) within 2 units in the last place, without a branch: Cephes' polynomial around the nearest
/// multiple of ln 2. Below -87.3 it stays at 2^-126, above 88.4 it is infinite; NaN passes.
[[gnu::always_inline]] inline float exponential(float x) {
  constexpr float kLog2e = 1.44269504088896341f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 2^23: adding it rounds to an integer
  x = x < -87.3f ? -87.3f : x;
  x = x > 89.0f ? 89.0f : x;
  const float shifted = x * kLog2e + kRound;
  const float n = shifted - kRound;
  const float r = x - n * kLn2High - n * kLn2Low;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  const std::uint32_t power = (std::bit_cast<std::uint32_t>(shifted) + 127U) << 23;
  return y * std::bit_cast<float>(power);
}

/// Adds the exponentials of a run of negatives to their columns; returns their sum.
PLUMBLINE_CLONES float add_exponentials(const float* x, float* column, std::int64_t n, float s,
                                        float c) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) {
    const float e = exponential(x[j] * s - c);
    column[j] += e;
    sum += e;
  }
  return sum;
}

struct Products {
  float sum = 0, magnitude = 0;  ///< of g x
};

/// g = e (u + v) of a run of negatives. g may be x.
PLUMBLINE_CLONES Products multiply_exponentials(const float* x, const float* v, float* g,
                                                std::int64_t n, float u, float s, float c) {
  float sum = 0, magnitude = 0;
#pragma omp simd reduction(+ : sum, magnitude)
  for (std::int64_t j = 0; j < n; ++j) {
    const float value = x[j];
    const float gradient = exponential(value * s - c) * (u + v[j]);
    sum += gradient * value;
    magnitude += std::abs(gradient * value);
    g[j] = gradient;
  }
  return {sum, magnitude};
}

[[nodiscard]] float reference_of(float s) { return std::max(s - 70.0f, 0.0f); }

/// The column of row i's positive, or -1.
[[nodiscard]] std::int64_t positive_of(const ContrastiveTile& tile, std::int64_t i) {
  const std::int64_t column = tile.first_positive + i;
  return column >= 0 && column < tile.columns ? column : -1;
}

/// One row of G in float32 into g_N, and its part of the three sums as if stored so.
void gradient_row(const ContrastiveGradientParams& p, std::int64_t i, float s, float* g_N,
                  double (&sums)[3]) {
  const ContrastiveTile& tile = p.tile;
  const float* x = tile.x_BN + i * tile.stride;
  const float c = reference_of(s);
  const auto add = [&](Products products) {
    sums[0] += products.sum;
    sums[1] += products.sum;
    sums[2] += products.magnitude;
  };
  const std::int64_t positive = positive_of(tile, i);
  const std::int64_t before = positive < 0 ? tile.columns : positive;
  const float x_ii = positive < 0 ? 0 : x[positive];  // read before G overwrites it
  add(multiply_exponentials(x, p.v_N, g_N, before, p.u_B[i], s, c));
  if (positive < 0) return;
  g_N[positive] = p.diagonal_B[i];
  add({p.diagonal_B[i] * x_ii, std::abs(p.diagonal_B[i] * x_ii)});
  const std::int64_t after = positive + 1;
  add(multiply_exponentials(x + after, p.v_N + after, g_N + after, tile.columns - after, p.u_B[i],
                            s, c));
}

/// Stores a row of G as bfloat16; its part of the sums over what is stored.
void round_row(const ContrastiveGradientParams& p, std::int64_t i, const float* g_N,
               double (&sums)[3]) {
  auto* out = static_cast<std::uint16_t*>(p.g_BN) + i * p.g_stride;
  const float* x = p.tile.x_BN + i * p.tile.stride;
  for (std::int64_t j = 0; j < p.tile.columns; ++j) {
    out[j] = bfloat16_bits(g_N[j]);
    const double term = static_cast<double>(bfloat16_value(out[j])) * x[j];
    sums[1] += term;
    sums[2] += std::abs(term);
  }
}

[[nodiscard]] bool is_empty(const ContrastiveTile& tile) { return tile.rows * tile.columns == 0; }

void check_tile(const ContrastiveTile& tile, const std::string& shape) {
  if (tile.rows < 0 || tile.columns < 0 || tile.stride < tile.columns) {
    throw InternalError(shape + ": negative size, or rows that overlap");
  }
  if (!is_empty(tile) && (tile.x_BN == nullptr || tile.scale == nullptr)) {
    throw InternalError(shape + ": null pointer");
  }
}

}  // namespace

std::string shape_of(const ContrastiveStatisticsParams& p) {
  return str("contrastive_statistics of [", p.tile.rows, ", ", p.tile.columns, "]");
}

std::string shape_of(const ContrastiveGradientParams& p) {
  return str("contrastive_gradient of [", p.tile.rows, ", ", p.tile.columns, "]");
}

void check_contrastive(const ContrastiveStatisticsParams& p) {
  check_tile(p.tile, shape_of(p));
  if (!is_empty(p.tile) && (p.row_B == nullptr || p.column_N == nullptr)) {
    throw InternalError(shape_of(p) + ": null pointer");
  }
}

void check_contrastive(const ContrastiveGradientParams& p) {
  check_tile(p.tile, shape_of(p));
  if (p.g_stride < p.tile.columns) throw InternalError(shape_of(p) + ": rows of G overlap");
  if (!is_empty(p.tile) && (p.u_B == nullptr || p.v_N == nullptr || p.diagonal_B == nullptr ||
                            p.g_BN == nullptr || p.sums_3 == nullptr)) {
    throw InternalError(shape_of(p) + ": null pointer");
  }
}

std::int64_t contrastive_workspace_bytes(std::int64_t rows, std::int64_t columns) {
  const std::int64_t down = (rows + kContrastiveBlockRows - 1) / kContrastiveBlockRows;
  const std::int64_t across = (columns + kContrastiveBlockColumns - 1) / kContrastiveBlockColumns;
  const std::int64_t statistics = across * rows + down * columns;
  return 4 * std::max(statistics, 3 * down * across) + 16;
}

namespace cpu {

void contrastive_statistics(const ContrastiveStatisticsParams& p) {
  check_contrastive(p);
  if (is_empty(p.tile)) return;
  const ContrastiveTile& tile = p.tile;
  const float s = *tile.scale, c = reference_of(s);
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const float* x = tile.x_BN + i * tile.stride;
    const std::int64_t positive = positive_of(tile, i);
    const std::int64_t before = positive < 0 ? tile.columns : positive;
    p.row_B[i] += add_exponentials(x, p.column_N, before, s, c);
    if (positive < 0) continue;
    if (p.positive_B != nullptr) p.positive_B[i] = x[positive];
    const std::int64_t after = positive + 1;
    p.row_B[i] += add_exponentials(x + after, p.column_N + after, tile.columns - after, s, c);
  }
}

void contrastive_gradient(const ContrastiveGradientParams& p) {
  check_contrastive(p);
  if (is_empty(p.tile)) return;
  const float s = *p.tile.scale;
  const bool rounds = p.type == FloatType::bfloat16;
  double sums[3] = {0, 0, 0};
  std::vector<float> row_N(rounds ? static_cast<std::size_t>(p.tile.columns) : 0);
  for (std::int64_t i = 0; i < p.tile.rows; ++i) {
    if (!rounds) {
      gradient_row(p, i, s, static_cast<float*>(p.g_BN) + i * p.g_stride, sums);
      continue;
    }
    double unrounded[3] = {0, 0, 0};
    gradient_row(p, i, s, row_N.data(), unrounded);
    sums[0] += unrounded[0];
    round_row(p, i, row_N.data(), sums);
  }
  for (int k = 0; k < 3; ++k) p.sums_3[k] += sums[k];
}

}  // namespace cpu
}  // namespace plumbline
