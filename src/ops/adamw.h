// The fused AdamW of kernels/adamw on tensors.
#pragma once

#include <torch/torch.h>

namespace plumbline {

/// One update of a parameter or a slice of one; formula and rounding: kernels/adamw/adamw.h.
struct AdamWUpdate {
  double keep = 1;  ///< 1 - lr wd
  double one_minus_beta1 = 0;
  double beta2 = 0, one_minus_beta2 = 0;
  double step_size = 0;  ///< lr / (1 - beta1^t)
  double root_correction2 = 1;
  double eps = 0;
  at::Tensor factor;  ///< of the gradient, one float32 on the device of the tensors
};

/// Whether adamw() takes them: float32, contiguous, of one size, and 1 - beta1 below 0.5.
[[nodiscard]] bool can_fuse_adamw(const AdamWUpdate& update, const at::Tensor& p,
                                  const at::Tensor& grad, const at::Tensor& m, const at::Tensor& v);

/// Overwrites p, m and v. CPU: all threads; the result does not depend on their number.
void adamw(const AdamWUpdate& update, const at::Tensor& p, const at::Tensor& grad,
           const at::Tensor& m, const at::Tensor& v);

}  // namespace plumbline
