// AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) in one pass over flat memory. With g = f grad:
//
//   p *= keep;  m += (1 - b1) (g - m);  v = b2 v + (1 - b2) g^2
//   p -= step_size m / (sqrt(v) / root_correction2 + eps)
//
// The factor f (of clipping) is read when the kernel runs: a step needs no word from the host
// between the norm of the gradients and the update. A factor that is not finite leaves everything
// as it was.
#pragma once

#include <cstdint>
#include <string>

struct CUstream_st;  // *cudaStream_t, without the CUDA header

namespace plumbline {

/// The host's scalars, each computed in double and rounded once.
struct AdamWScalars {
  float keep = 1;             ///< 1 - lr wd; 1 where weights do not decay
  float one_minus_beta1 = 0;  ///< below 0.5
  float beta2 = 0;
  float one_minus_beta2 = 0;
  float step_size = 0;         ///< lr / (1 - b1^t)
  float root_correction2 = 1;  ///< sqrt(1 - b2^t)
  float eps = 0;
};

/// n elements each. CUDA: 16-byte aligned.
struct AdamWParams {
  float* p_N = nullptr;
  const float* grad_N = nullptr;
  float* m_N = nullptr;
  float* v_N = nullptr;
  std::uint16_t* bfloat16_N = nullptr;  ///< p rounded to bfloat16, half to even; may be null
  std::int64_t n = 0;
  const float* factor = nullptr;  ///< f, one value
  AdamWScalars scalars;
};

namespace cpu {
/// Replaces n values by their square roots.
using SquareRoots = void (*)(float* x_N, std::int64_t n);

/// Reference and CPU path, vectorised, one thread. Every operation rounds as LibTorch's lerp,
/// addcmul and addcdiv of float32 do; given LibTorch's square roots (MKL's, of which one in 150
/// differs from IEEE's) the result equals torch.optim.AdamW's bit for bit. Null: IEEE's.
/// Zero elements do nothing. Throws InternalError with the shape for a negative size, a null
/// pointer or 1 - b1 of 0.5 and more (another formula of lerp).
void adamw(const AdamWParams& params, SquareRoots square_roots = nullptr);
}  // namespace cpu

namespace cuda {
/// The same on device pointers, in order on `stream`; allocates nothing, does not synchronise.
/// Cost: 28 bytes an element, 30 with bfloat16_N. Throws InternalError as cpu:: does, also for
/// misaligned pointers; Error with the shape and CUDA's words when the launch fails, or when the
/// program was built without nvcc.
void adamw(const AdamWParams& params, CUstream_st* stream);
}  // namespace cuda

/// "adamw of [N]"; for messages.
[[nodiscard]] std::string shape_of(const AdamWParams& params);
/// Throws InternalError unless sizes and pointers are ones that both implementations accept.
void check_adamw(const AdamWParams& params);

}  // namespace plumbline
