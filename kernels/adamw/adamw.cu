// A thread takes four adjacent elements at a time in a loop over the grid: 16-byte loads and
// stores, nothing is shared, so the result does not depend on the grid.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/adamw/adamw.h"
#include "kernels/device/rounded.cuh"
#include "plumbline/error.h"

namespace plumbline::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 132 * 16;  // a few waves of the largest GPUs

/// Rounds where the reference rounds: fused are lerp and addcmul alone.
__device__ void update(float& p, float grad, float& m, float& v, float factor,
                       const AdamWScalars& s) {
  const float g = __fmul_rn(grad, factor);
  m = __fmaf_rn(s.one_minus_beta1, __fsub_rn(g, m), m);
  v = __fmaf_rn(__fmul_rn(s.one_minus_beta2, g), g, __fmul_rn(v, s.beta2));
  const float root = __fdiv_rn(__fsqrt_rn(v), s.root_correction2);
  const float change = __fdiv_rn(__fmul_rn(-s.step_size, m), __fadd_rn(root, s.eps));
  p = __fadd_rn(__fmul_rn(p, s.keep), change);
}

__device__ void store_rounded(std::uint16_t* out, float value) {
  *reinterpret_cast<__nv_bfloat16*>(out) = rounded<__nv_bfloat16>(value);
}

__device__ void update_four(const AdamWParams& a, std::int64_t k, float factor) {
  float4 p = reinterpret_cast<const float4*>(a.p_N)[k];
  const float4 g = reinterpret_cast<const float4*>(a.grad_N)[k];
  float4 m = reinterpret_cast<const float4*>(a.m_N)[k];
  float4 v = reinterpret_cast<const float4*>(a.v_N)[k];
  update(p.x, g.x, m.x, v.x, factor, a.scalars);
  update(p.y, g.y, m.y, v.y, factor, a.scalars);
  update(p.z, g.z, m.z, v.z, factor, a.scalars);
  update(p.w, g.w, m.w, v.w, factor, a.scalars);
  reinterpret_cast<float4*>(a.p_N)[k] = p;
  reinterpret_cast<float4*>(a.m_N)[k] = m;
  reinterpret_cast<float4*>(a.v_N)[k] = v;
  if (a.bfloat16_N == nullptr) return;
  const float values[4] = {p.x, p.y, p.z, p.w};
#pragma unroll
  for (int q = 0; q < 4; ++q) store_rounded(a.bfloat16_N + 4 * k + q, values[q]);
}

__global__ __launch_bounds__(kThreads) void adamw_kernel(AdamWParams a) {
  const float factor = *a.factor;
  if (!isfinite(factor)) return;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t k = first; k < a.n / 4; k += step) update_four(a, k, factor);
  const std::int64_t i = a.n / 4 * 4 + first;
  if (i >= a.n) return;
  update(a.p_N[i], a.grad_N[i], a.m_N[i], a.v_N[i], factor, a.scalars);
  if (a.bfloat16_N != nullptr) store_rounded(a.bfloat16_N + i, a.p_N[i]);
}

bool misaligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0; }

}  // namespace

void adamw(const AdamWParams& p, CUstream_st* stream) {
  check_adamw(p);
  if (p.n == 0) return;
  if (misaligned(p.p_N) || misaligned(p.grad_N) || misaligned(p.m_N) || misaligned(p.v_N) ||
      misaligned(p.bfloat16_N)) {
    throw InternalError(shape_of(p) + ": arrays must be 16-byte aligned");
  }
  const std::int64_t blocks = (p.n / 4 + kThreads) / kThreads;
  (void)cudaGetLastError();  // an older error is not this launch's
  adamw_kernel<<<static_cast<unsigned>(std::min(blocks, kMostBlocks)), kThreads, 0, stream>>>(p);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    throw Error(shape_of(p) + ": " + cudaGetErrorString(error));
  }
}

}  // namespace plumbline::cuda
