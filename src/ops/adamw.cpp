#include "ops/adamw.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>

#include "kernels/adamw/adamw.h"
#include "ops/device.h"

namespace plumbline {
namespace {

constexpr std::int64_t kGrain = 1 << 16;  // elements that pay for a thread

[[nodiscard]] AdamWScalars scalars_of(const AdamWUpdate& u) {
  const auto rounded = [](double value) { return static_cast<float>(value); };
  return {.keep = rounded(u.keep),
          .one_minus_beta1 = rounded(u.one_minus_beta1),
          .beta2 = rounded(u.beta2),
          .one_minus_beta2 = rounded(u.one_minus_beta2),
          .step_size = rounded(u.step_size),
          .root_correction2 = rounded(u.root_correction2),
          .eps = rounded(u.eps)};
}

[[nodiscard]] bool aligned(const at::Tensor& x) {
  return reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % 16 == 0;
}

void square_roots(float* x_N, std::int64_t n) {
  const at::NoGradGuard no_grad;
  at::Tensor x = at::from_blob(x_N, {n}, at::kFloat);
  x.sqrt_();
}

}  // namespace

bool can_fuse_adamw(const AdamWUpdate& update, const at::Tensor& p, const at::Tensor& grad,
                    const at::Tensor& m, const at::Tensor& v) {
  for (const at::Tensor* x : {&p, &grad, &m, &v}) {
    if (x->scalar_type() != at::kFloat || !x->is_contiguous() || x->numel() != p.numel() ||
        x->device() != p.device() || (x->is_cuda() && !aligned(*x))) {
      return false;
    }
  }
  return static_cast<float>(update.one_minus_beta1) < 0.5f;
}

void adamw(const AdamWUpdate& update, const at::Tensor& p, const at::Tensor& grad,
           const at::Tensor& m, const at::Tensor& v) {
  const AdamWParams all = {.p_N = p.data_ptr<float>(),
                           .grad_N = grad.const_data_ptr<float>(),
                           .m_N = m.data_ptr<float>(),
                           .v_N = v.data_ptr<float>(),
                           .bfloat16_N = nullptr,
                           .n = p.numel(),
                           .factor = update.factor.const_data_ptr<float>(),
                           .scalars = scalars_of(update)};
  if (p.is_cuda()) {
    const c10::DeviceGuard guard(p.device());
    cuda::adamw(all, static_cast<CUstream_st*>(current_stream(p.device())));
    return;
  }
  at::parallel_for(0, all.n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    AdamWParams part = all;
    part.p_N += begin;
    part.grad_N += begin;
    part.m_N += begin;
    part.v_N += begin;
    part.n = end - begin;
    cpu::adamw(part, square_roots);
  });
}

}  // namespace plumbline
