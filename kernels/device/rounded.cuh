// float32 to the type a kernel stores, round half to even: `rounded<float>`,
// `rounded<__nv_bfloat16>`. The host's twin is kernels/bfloat16.h.
#pragma once

#include <cuda_bf16.h>

namespace plumbline::cuda {

template <typename T>
__device__ inline T rounded(float value);

template <>
__device__ inline float rounded<float>(float value) {
  return value;
}

template <>
__device__ inline __nv_bfloat16 rounded<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

}  // namespace plumbline::cuda
