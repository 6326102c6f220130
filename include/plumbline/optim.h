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
  bool zero1 = true;                     ///< moments and updates are shared out over the ranks
};

/// Whether the rule decays this parameter.
[[nodiscard]] bool is_decayed(const std::string& rule, const std::string& name, std::int64_t ndim);

/// Elements [first, first + count) of a parameter, the share of one rank.
struct ParameterSlice {
  std::string name;
  std::int64_t first = 0, count = 0;
  at::Tensor gradient;  ///< [count]
};

/// p *= 1 - lr wd; m += (1-b1)(g-m); v = b2 v + (1-b2) g^2;
/// p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps). float32 state, host scalars in double,
/// equal to torch.optim.AdamW (foreach and single-tensor) bit for bit on the CPU.
class AdamW {
 public:
  AdamW(const OptimizerOptions& options, NamedTensors parameters);
  /// ZeRO-1: updates these slices of the parameters alone, and has no moments of the rest. The same
  /// numbers bit for bit, whatever the slices.
  AdamW(const OptimizerOptions& options, NamedTensors parameters,
        const std::vector<ParameterSlice>& slices);
  /// One update from the parameters' .grad, each times `grad_factor` (clipping). A parameter
  /// without gradient is left alone.
  void step(double lr, double grad_factor);
  [[nodiscard]] std::int64_t applied_steps() const { return applied_; }
  /// Moments as `exp_avg.NAME`, `exp_avg_sq.NAME`, in parameter order; of slices as [count].
  [[nodiscard]] NamedTensors state() const;
  /// The moments of whole parameters, of which slices take their part. Throws UsageError listing
  /// names or shapes that do not fit.
  void load_state(const NamedTensors& tensors, std::int64_t applied_steps);

 private:
  struct Part {
    std::size_t parameter = 0;
    std::int64_t first = 0, count = -1;  ///< count < 0: the whole parameter
    at::Tensor gradient = {};            ///< of a slice; else the parameter's .grad
    at::Tensor exp_avg = {}, exp_avg_sq = {};
    bool decayed = false;
  };
  void add_part(Part part);
  /// A tensor of the parameter's shape, as this part sees it.
  [[nodiscard]] static at::Tensor cut(const Part& part, const at::Tensor& whole);

  OptimizerOptions options_;
  NamedTensors parameters_;
  std::vector<Part> parts_;
  std::int64_t applied_ = 0;
};

/// Exponential moving average of a model's tensors, e += (1 - d)(p - e): often the better model,
/// at the price of one copy of the weights. Tensors that are not trained (locked towers, buffers)
/// are copied. Starts equal to the model; shares memory with it for reading.
class WeightAverage {
 public:
  /// All `tensors` of the model, the names of the `trained` ones, and d in (0, 1).
  WeightAverage(NamedTensors tensors, const std::vector<std::string>& trained, double decay);
  /// After each applied update.
  void update();
  /// Throws UsageError naming a tensor that is missing or of another shape.
  void load(const NamedTensors& tensors);
  /// The average and the model change places, bit for bit; a second call undoes it.
  void swap();
  /// Under the model's names.
  [[nodiscard]] const NamedTensors& tensors() const { return average_; }

 private:
  struct Pairs {
    std::vector<at::Tensor> from, to;
  };
  NamedTensors tensors_, average_;
  Pairs averaged_, copied_;
  double decay_;
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
