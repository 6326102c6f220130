// AdamW, clipping, schedules: plumbline/optim.h.
#include "plumbline/optim.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "ops/adamw.h"
#include "ops/sum_of_squares.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// The operations of torch.optim.AdamW one by one, so that every rounding is its own: for what the
/// fused update does not take.
void apply(const AdamWUpdate& u, at::Tensor p, const at::Tensor& grad, at::Tensor m,
           const at::Tensor& v) {
  const at::Tensor g = grad * u.factor.to(grad.options());
  p.mul_(u.keep);
  m.lerp_(g, u.one_minus_beta1);
  v.mul_(u.beta2).addcmul_(g, g, u.one_minus_beta2);
  const at::Tensor denominator = v.sqrt().div_(u.root_correction2).add_(u.eps);
  p.addcdiv_(m, denominator, -u.step_size);
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
  for (std::size_t i = 0; i < parameters_.size(); ++i) add_part({.parameter = i});
}

AdamW::AdamW(const OptimizerOptions& options, NamedTensors parameters,
             const std::vector<ParameterSlice>& slices)
    : options_(options), parameters_(std::move(parameters)) {
  check(options_);
  for (const ParameterSlice& slice : slices) {
    const auto found =
        std::find_if(parameters_.begin(), parameters_.end(),
                     [&](const auto& parameter) { return parameter.first == slice.name; });
    require(found != parameters_.end(), "AdamW: a slice of an unknown parameter");
    add_part({.parameter = static_cast<std::size_t>(found - parameters_.begin()),
              .first = slice.first,
              .count = slice.count,
              .gradient = slice.gradient});
  }
}

void AdamW::add_part(Part part) {
  const at::NoGradGuard no_grad;
  const auto& [name, parameter] = parameters_[part.parameter];
  part.exp_avg = at::zeros_like(cut(part, parameter.detach()));
  part.exp_avg_sq = at::zeros_like(part.exp_avg);
  part.decayed = is_decayed(options_.decay_rule, name, parameter.dim());
  parts_.push_back(std::move(part));
}

at::Tensor AdamW::cut(const Part& part, const at::Tensor& whole) {
  return part.count < 0 ? whole : whole.view({-1}).narrow(0, part.first, part.count);
}

void AdamW::step(double lr, double grad_factor) {
  const at::NoGradGuard no_grad;
  ++applied_;
  const double t = static_cast<double>(applied_);
  AdamWUpdate u;
  u.one_minus_beta1 = 1 - options_.beta1;
  u.beta2 = options_.beta2;
  u.one_minus_beta2 = 1 - options_.beta2;
  u.step_size = lr / (1 - std::pow(options_.beta1, t));
  u.root_correction2 = std::pow(1 - std::pow(options_.beta2, t), 0.5);
  u.eps = options_.eps;
  u.factor = at::full({}, grad_factor, at::kFloat);
  if (!parts_.empty()) u.factor = u.factor.to(parts_.front().exp_avg.device());
  for (Part& part : parts_) {
    const at::Tensor& parameter = parameters_[part.parameter].second;
    const at::Tensor gradient = part.count < 0 ? parameter.grad() : part.gradient;
    if (!gradient.defined()) continue;
    u.keep = part.decayed ? 1 - lr * options_.weight_decay : 1.0;
    const at::Tensor p = cut(part, parameter.detach());
    if (can_fuse_adamw(u, p, gradient, part.exp_avg, part.exp_avg_sq)) {
      adamw(u, p, gradient, part.exp_avg, part.exp_avg_sq);
    } else {
      apply(u, p, gradient, part.exp_avg, part.exp_avg_sq);
    }
  }
}

NamedTensors AdamW::state() const {
  NamedTensors out;
  for (const Part& part : parts_) {
    const std::string& name = parameters_[part.parameter].first;
    out.emplace_back("exp_avg." + name, part.exp_avg);
    out.emplace_back("exp_avg_sq." + name, part.exp_avg_sq);
  }
  return out;
}

void AdamW::load_state(const NamedTensors& tensors, std::int64_t applied_steps) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> given(tensors.begin(), tensors.end());
  std::map<std::string, at::Tensor> fitting;
  std::string problems;
  for (const auto& [parameter, shaped] : parameters_) {
    for (const char* kind : {"exp_avg.", "exp_avg_sq."}) {
      const std::string name = kind + parameter;
      const auto found = given.find(name);
      if (found == given.end()) {
        problems += plumbline::str("; missing ", name);
        continue;
      }
      if (found->second.sizes() != shaped.sizes()) {
        problems +=
            plumbline::str("; ", name, " is ", found->second.sizes(), ", not ", shaped.sizes());
      }
      fitting.insert(given.extract(found));
    }
  }
  for (const auto& [name, tensor] : given) problems += plumbline::str("; unexpected ", name);
  if (!problems.empty()) throw UsageError("optimizer state does not fit" + problems);
  for (Part& part : parts_) {
    const std::string& name = parameters_[part.parameter].first;
    part.exp_avg.copy_(cut(part, fitting.at("exp_avg." + name)));
    part.exp_avg_sq.copy_(cut(part, fitting.at("exp_avg_sq." + name)));
  }
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
