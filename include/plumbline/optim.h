// AdamW with OpenCLIP's parameter groups, learning-rate schedules, gradient clipping.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plumbline/model.h"

namespace plumbline {

/// The `optimizer:` section of a run file.
struct OptimizerOptions {
  std::string kind = "adamw";
  double lr = 5e-4;
  double beta1 = 0.9, beta2 = 0.98;
  double eps = 1e-6;
  double weight_decay = 0.2;
  std::optional<double> clip_norm;
  std::string decay_rule = "openclip3";  ///< openclip3 | openclip4
};

/// Whether the rule decays this parameter.
[[nodiscard]] bool is_decayed(const std::string& rule, const std::string& name, std::int64_t ndim);

/// p *= 1 - lr wd; m += (1-b1)(g-m); v = b2 v + (1-b2) g^2;
/// p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps). float32 state, host scalars in double,
/// equal to torch.optim.AdamW (foreach and single-tensor) bit for bit on the CPU.
class AdamW {
 public:
  AdamW(const OptimizerOptions& options, NamedTensors parameters);
  /// One update from the parameters' .grad, each times `grad_factor` (clipping). A parameter
  /// without gradient is left alone.
  void step(double lr, double grad_factor);
  [[nodiscard]] std::int64_t applied_steps() const { return applied_; }
  /// Moments as `exp_avg.NAME`, `exp_avg_sq.NAME`, in parameter order.
  [[nodiscard]] NamedTensors state() const;
  /// Throws UsageError listing names or shapes that do not fit.
  void load_state(const NamedTensors& tensors, std::int64_t applied_steps);

 private:
  OptimizerOptions options_;
  NamedTensors parameters_;
  std::vector<at::Tensor> exp_avg_, exp_avg_sq_;
  std::vector<bool> decayed_;
  std::int64_t applied_ = 0;
};

/// L2 norm of all gradients, summed in double.
[[nodiscard]] double gradient_norm(const NamedTensors& parameters);

/// min(1, max_norm / (norm + 1e-6)).
[[nodiscard]] double clip_factor(double norm, double max_norm);

/// The `schedule:` section.
struct ScheduleOptions {
  std::string kind = "cosine";  ///< cosine | constant | constant_cooldown
  std::int64_t warmup_steps = 2000;
  double min_lr = 0.0;
  std::int64_t cooldown_steps = 0;
  double cooldown_power = 1.0, cooldown_end_lr = 0.0;
};

/// Learning rate of step k (from 0) of `total`; after the end the last value holds.
[[nodiscard]] double learning_rate(const ScheduleOptions& schedule, double lr, std::int64_t k,
                                   std::int64_t total);

}  // namespace plumbline
