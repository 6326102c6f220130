// AdamW, clipping, schedules: plumbline/optim.h.
#include "plumbline/optim.h"

#include <algorithm>
#include <cmath>

#include "ops/gradient_reducer.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// Host scalars of one update, in double as torch.optim computes them.
struct Update {
  double keep = 1;  ///< 1 - lr wd
  double one_minus_beta1 = 0;
  double beta2 = 0, one_minus_beta2 = 0;
  double step_size = 0;  ///< lr / (1 - beta1^t)
  double root_correction2 = 1;
  double eps = 0;
  float grad_factor = 1;
};

/// The operations of torch.optim.AdamW one by one, so that every rounding is its own.
void apply(const Update& u, at::Tensor p, const at::Tensor& grad, at::Tensor m, at::Tensor v) {
  const at::Tensor g = u.grad_factor == 1.0f ? grad : grad * u.grad_factor;
  p.mul_(u.keep);
  m.lerp_(g, u.one_minus_beta1);
  v.mul_(u.beta2).addcmul_(g, g, u.one_minus_beta2);
  const at::Tensor denominator = v.sqrt().div_(u.root_correction2).add_(u.eps);
  p.addcdiv_(m, denominator, -u.step_size);
}

/// On the CPU in slices that stay in cache: ten passes over memory become two.
void apply_in_slices(const Update& u, const at::Tensor& p, const at::Tensor& grad,
                     const at::Tensor& m, const at::Tensor& v) {
  const std::int64_t slice = std::int64_t{32768} * at::get_num_threads();
  const bool plain = p.is_contiguous() && grad.is_contiguous() && m.is_contiguous();
  if (!p.is_cpu() || !plain || p.numel() <= slice) return apply(u, p, grad, m, v);
  const at::Tensor p_N = p.view({-1}), g_N = grad.view({-1}), m_N = m.view({-1}),
                   v_N = v.view({-1});
  for (std::int64_t first = 0; first < p.numel(); first += slice) {
    const std::int64_t n = std::min(slice, p.numel() - first);
    apply(u, p_N.narrow(0, first, n), g_N.narrow(0, first, n), m_N.narrow(0, first, n),
          v_N.narrow(0, first, n));
  }
}

[[nodiscard]] bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

void check(const OptimizerOptions& o) {
  const auto refuse = [](const auto&... what) { throw UsageError(str("optimizer.", what...)); };
  if (o.kind != "adamw") refuse("kind: unknown '", o.kind, "' (known: adamw)");
  if (!(o.beta1 >= 0 && o.beta1 < 1)) refuse("betas: ", o.beta1, " is outside [0, 1)");
  if (!(o.beta2 >= 0 && o.beta2 < 1)) refuse("betas: ", o.beta2, " is outside [0, 1)");
  if (!(o.eps >= 0)) refuse("eps: ", o.eps, " is negative");
  if (!(o.weight_decay >= 0)) refuse("weight_decay: ", o.weight_decay, " is negative");
}

}  // namespace

bool is_decayed(const std::string& rule, const std::string& name, std::int64_t ndim) {
  if (rule != "openclip3" && rule != "openclip4") {
    throw UsageError(
        str("optimizer.decay_rule: unknown '", rule, "' (known: openclip3, openclip4)"));
  }
  if (ndim < 2 || contains(name, "bn") || contains(name, "ln") || contains(name, "bias") ||
      contains(name, "logit_scale")) {
    return false;
  }
  if (rule == "openclip3") return true;
  return name != "positional_embedding" && name != "visual.positional_embedding" &&
         name != "visual.class_embedding";
}

AdamW::AdamW(const OptimizerOptions& options, NamedTensors parameters)
    : options_(options), parameters_(std::move(parameters)) {
  check(options_);
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters_) {
    exp_avg_.push_back(at::zeros_like(parameter));
    exp_avg_sq_.push_back(at::zeros_like(parameter));
    decayed_.push_back(is_decayed(options_.decay_rule, name, parameter.dim()));
  }
}

void AdamW::step(double lr, double grad_factor) {
  const at::NoGradGuard no_grad;
  ++applied_;
  const double t = static_cast<double>(applied_);
  Update u;
  u.one_minus_beta1 = 1 - options_.beta1;
  u.beta2 = options_.beta2;
  u.one_minus_beta2 = 1 - options_.beta2;
  u.step_size = lr / (1 - std::pow(options_.beta1, t));
  u.root_correction2 = std::pow(1 - std::pow(options_.beta2, t), 0.5);
  u.eps = options_.eps;
  u.grad_factor = static_cast<float>(grad_factor);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& parameter = parameters_[i].second;
    if (!parameter.grad().defined()) continue;
    u.keep = decayed_[i] ? 1 - lr * options_.weight_decay : 1.0;
    apply_in_slices(u, parameter.detach(), parameter.grad(), exp_avg_[i], exp_avg_sq_[i]);
  }
}

NamedTensors AdamW::state() const {
  NamedTensors out;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    out.emplace_back("exp_avg." + parameters_[i].first, exp_avg_[i]);
    out.emplace_back("exp_avg_sq." + parameters_[i].first, exp_avg_sq_[i]);
  }
  return out;
}

void AdamW::load_state(const NamedTensors& tensors, std::int64_t applied_steps) {
  const at::NoGradGuard no_grad;
  const NamedTensors mine = state();
  std::string problems;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
  for (const auto& [name, target] : mine) {
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&n = name](const auto& entry) { return entry.first == n; });
    if (found == tensors.end()) {
      problems += str("; missing ", name);
    } else if (found->second.sizes() != target.sizes()) {
      problems +=
          plumbline::str("; ", name, " is ", found->second.sizes(), ", not ", target.sizes());
    } else {
      copies.emplace_back(target, found->second);
    }
  }
  for (const auto& [name, tensor] : tensors) {
    const bool known = std::any_of(mine.begin(), mine.end(),
                                   [&n = name](const auto& entry) { return entry.first == n; });
    if (!known) problems += str("; unexpected ", name);
  }
  if (!problems.empty()) throw UsageError("optimizer state does not fit" + problems);
  for (auto& [target, source] : copies) target.copy_(source);
  applied_ = applied_steps;
}

double gradient_norm(const NamedTensors& parameters) {
  double sum = 0;
  for (const auto& [name, parameter] : parameters) {
    if (parameter.grad().defined()) sum += sum_of_squares(parameter.grad());
  }
  return std::sqrt(sum);
}

double clip_factor(double norm, double max_norm) { return std::min(1.0, max_norm / (norm + 1e-6)); }

double learning_rate(const ScheduleOptions& schedule, double lr, std::int64_t k,
                     std::int64_t total) {
  const auto as_double = [](std::int64_t n) { return static_cast<double>(n); };
  k = std::clamp<std::int64_t>(k, 0, std::max<std::int64_t>(total - 1, 0));
  const std::int64_t warmup = schedule.warmup_steps;
  if (k < warmup) return lr * as_double(k + 1) / as_double(warmup);
  if (schedule.kind == "constant") return lr;
  if (schedule.kind == "cosine") {
    const double angle = M_PI * as_double(k - warmup) / as_double(total - warmup);
    return schedule.min_lr + 0.5 * (1 + std::cos(angle)) * (lr - schedule.min_lr);
  }
  if (schedule.kind == "constant_cooldown") {
    const std::int64_t start = total - schedule.cooldown_steps;
    if (k < start) return lr;
    const double left = 1 - as_double(k - start) / as_double(schedule.cooldown_steps);
    return std::pow(left, schedule.cooldown_power) * (lr - schedule.cooldown_end_lr) +
           schedule.cooldown_end_lr;
  }
  throw UsageError(str("schedule.kind: unknown '", schedule.kind,
                       "' (known: cosine, constant, constant_cooldown)"));
}

}  // namespace plumbline
