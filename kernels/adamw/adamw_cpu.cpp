#include "kernels/adamw/adamw.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/bfloat16.h"
#include "plumbline/error.h"

// One object for every x86: the loops below are compiled three times, the processor picks.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PLUMBLINE_CLONES __attribute__((target_clones("avx512f", "arch=haswell", "default")))
#else
#define PLUMBLINE_CLONES
#endif

namespace plumbline {
namespace {

constexpr std::int64_t kBlock = 4096;  // five arrays of it stay in L2

/// m and v; square_N gets a copy of the new v.
PLUMBLINE_CLONES void update_moments(const float* grad, float* m, float* v, float* square_N,
                                     std::int64_t n, float factor, const AdamWScalars& scalars) {
  const AdamWScalars s = scalars;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = grad[i] * factor;
    m[i] = std::fma(s.one_minus_beta1, g - m[i], m[i]);
    v[i] = std::fma(s.one_minus_beta2 * g, g, v[i] * s.beta2);
    square_N[i] = v[i];
  }
}

PLUMBLINE_CLONES void take_roots(float* x_N, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) x_N[i] = std::sqrt(x_N[i]);
}

PLUMBLINE_CLONES void update_weights(float* p, const float* m, const float* root_N, std::int64_t n,
                                     const AdamWScalars& scalars) {
  const AdamWScalars s = scalars;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const float denominator = root_N[i] / s.root_correction2 + s.eps;
    p[i] = p[i] * s.keep + -s.step_size * m[i] / denominator;
  }
}

}  // namespace

std::string shape_of(const AdamWParams& p) { return str("adamw of [", p.n, "]"); }

void check_adamw(const AdamWParams& p) {
  if (p.n < 0) throw InternalError(shape_of(p) + ": negative size");
  if (!(p.scalars.one_minus_beta1 < 0.5f)) {
    throw InternalError(shape_of(p) + ": 1 - beta1 is not below 0.5");
  }
  if (p.n > 0 && (p.p_N == nullptr || p.grad_N == nullptr || p.m_N == nullptr || p.v_N == nullptr ||
                  p.factor == nullptr)) {
    throw InternalError(shape_of(p) + ": null pointer");
  }
}

namespace cpu {

void adamw(const AdamWParams& p, SquareRoots square_roots) {
  check_adamw(p);
  if (p.n == 0 || !std::isfinite(*p.factor)) return;
  alignas(64) std::array<float, kBlock> root_N;
  for (std::int64_t first = 0; first < p.n; first += kBlock) {
    const std::int64_t n = std::min(kBlock, p.n - first);
    update_moments(p.grad_N + first, p.m_N + first, p.v_N + first, root_N.data(), n, *p.factor,
                   p.scalars);
    (square_roots == nullptr ? take_roots : square_roots)(root_N.data(), n);
    update_weights(p.p_N + first, p.m_N + first, root_N.data(), n, p.scalars);
    if (p.bfloat16_N == nullptr) continue;
    for (std::int64_t i = first; i < first + n; ++i) p.bfloat16_N[i] = bfloat16_bits(p.p_N[i]);
  }
}

}  // namespace cpu
}  // namespace plumbline
