// Whether a run is healthy, by the loss and the gradient norm of each step: values that are not
// finite, and spikes. Both numbers are the same on every rank, and so is every decision made here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plumbline {

class OptionVisitor;

/// The `nan:` section of a run file.
struct NanOptions {
  std::int64_t max_consecutive = 10;
  std::int64_t max_rollbacks = 1;
};

/// The `spike:` section.
struct SpikeOptions {
  std::string action = "log";  ///< off | log | skip | rollback
  double z = 6;
  std::int64_t window = 1000;  ///< steps
  std::int64_t count = 3, within = 20;
  std::int64_t max_rollbacks = 5;
};

void describe(OptionVisitor& v, NanOptions& nan);
void describe(OptionVisitor& v, SpikeOptions& spike);

enum class Health { good, not_finite, spike };

/// "good", "not finite", "a spike".
[[nodiscard]] std::string name_of(Health health);

/// Exponentially weighted mean and variance over about `window` values; the plain ones at first.
struct MovingStatistics {
  double mean = 0, variance = 0;
  void add(double value, double weight);
};

/// The weights of step `to` came back after step `at`; the checkpoints between them are not
/// trusted.
struct Rollback {
  std::int64_t to = 0, at = 0;
  Health why = Health::not_finite;
};

/// Part of a checkpoint.
struct GuardState {
  std::int64_t counted = 0;  ///< steps in the statistics
  MovingStatistics loss, grad_norm;
  std::int64_t not_finite_in_a_row = 0;
  std::vector<std::int64_t> spikes;  ///< steps with one, of the last SpikeOptions::within
  std::int64_t trouble_since = 0;    ///< its first step; 0: all is well
  std::vector<Rollback> rollbacks;
};

class Guard {
 public:
  Guard(const NanOptions& nan, const SpikeOptions& spike) : nan_(nan), spike_(spike) {}

  /// Judges a step (counted from 1) before its update. A spike is a loss or a gradient norm more
  /// than `z` deviations above its moving mean; nothing is one before min(window, 100) steps.
  [[nodiscard]] Health judge(std::int64_t step, double loss, double grad_norm);
  /// Whether the update of a step so judged is left out.
  [[nodiscard]] bool skips(Health health) const;
  /// Enough bad steps stand together that the weights of a checkpoint must come back.
  [[nodiscard]] bool wants_rollback() const;
  /// What the trouble is.
  [[nodiscard]] Health trouble() const;
  /// Whether the weights of the last step are under suspicion: then no checkpoint is due.
  [[nodiscard]] bool in_trouble() const { return state_.not_finite_in_a_row > 0; }
  /// Whether one more rollback of this kind is allowed.
  [[nodiscard]] bool may_roll_back() const;
  /// The newest of these steps of checkpoints whose weights have proven themselves by a good step
  /// after them; else the newest from before the trouble; -1 when there is none.
  [[nodiscard]] std::int64_t choose(const std::vector<std::int64_t>& steps) const;
  /// The statistics of the checkpoint hold again; the count of rollbacks goes on.
  void rolled_back(const GuardState& then, std::int64_t to, std::int64_t at);
  /// No rollback was possible: the count of spikes begins anew.
  void forget_spikes() { state_.spikes.clear(); }

  [[nodiscard]] const GuardState& state() const { return state_; }
  void load(const GuardState& state) { state_ = state; }

 private:
  [[nodiscard]] bool is_spike(const MovingStatistics& of, double value) const;
  void learn(MovingStatistics& of, double value) const;
  [[nodiscard]] bool enough() const;

  NanOptions nan_;
  SpikeOptions spike_;
  GuardState state_;
};

}  // namespace plumbline
