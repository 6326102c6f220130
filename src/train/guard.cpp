#include "train/guard.h"

#include <algorithm>
#include <cmath>

#include "config/option_visitor.h"

namespace plumbline {

void describe(OptionVisitor& v, NanOptions& nan) {
  v.value("max_consecutive", nan.max_consecutive, {1, 1e6},
          "steps in a row whose loss or gradient is not finite (each is skipped), then the last "
          "good checkpoint comes back");
  v.value("max_rollbacks", nan.max_rollbacks, {0, 1e6}, "a run; after them it is given up");
}

void describe(OptionVisitor& v, SpikeOptions& spike) {
  v.choice("action", spike.action, {"off", "log", "skip", "rollback"},
           "skip = without that update; rollback = `count` spikes within `within` steps bring the "
           "checkpoint before them back");
  v.value("z", spike.z, {1, 1e6}, "deviations above the mean, of loss or gradient norm");
  v.value("window", spike.window, {10, 1e9}, "steps of the mean and the deviation");
  v.value("count", spike.count, {1, 1e6}, "");
  v.value("within", spike.within, {1, 1e6}, "steps");
  v.value("max_rollbacks", spike.max_rollbacks, {0, 1e6}, "a run; after them it is given up");
}

std::string name_of(Health health) {
  switch (health) {
    case Health::good:
      return "good";
    case Health::not_finite:
      return "not finite";
    case Health::spike:
      return "a spike";
  }
  return "?";
}

void MovingStatistics::add(double value, double weight) {
  const double difference = value - mean;
  mean += weight * difference;
  variance = (1 - weight) * (variance + weight * difference * difference);
}

bool Guard::enough() const { return state_.counted >= std::min<std::int64_t>(spike_.window, 100); }

bool Guard::is_spike(const MovingStatistics& of, double value) const {
  return enough() && value > of.mean + spike_.z * std::sqrt(of.variance) &&
         value - of.mean > 1e-6 * std::abs(of.mean);
}

// A spike counts as the highest value that is none: else it would hide the next one, and a lasting
// rise would be a spike for ever.
void Guard::learn(MovingStatistics& of, double value) const {
  const double most = of.mean + spike_.z * std::sqrt(of.variance);
  const double weight =
      1 / static_cast<double>(std::min<std::int64_t>(state_.counted + 1, spike_.window));
  of.add(enough() ? std::min(value, most) : value, weight);
}

Health Guard::judge(std::int64_t step, double loss, double grad_norm) {
  GuardState& s = state_;
  if (!std::isfinite(loss) || !std::isfinite(grad_norm)) {
    if (s.not_finite_in_a_row++ == 0 && s.trouble_since == 0) s.trouble_since = step;
    return Health::not_finite;
  }
  s.not_finite_in_a_row = 0;
  std::erase_if(s.spikes, [&](std::int64_t at) { return at <= step - spike_.within; });
  s.trouble_since = s.spikes.empty() ? 0 : s.spikes.front();
  if (spike_.action == "off") return Health::good;
  const bool spike = is_spike(s.loss, loss) || is_spike(s.grad_norm, grad_norm);
  learn(s.loss, loss);
  learn(s.grad_norm, grad_norm);
  ++s.counted;
  if (!spike) return Health::good;
  s.spikes.push_back(step);
  s.trouble_since = s.spikes.front();
  return Health::spike;
}

bool Guard::skips(Health health) const {
  return health == Health::not_finite || (health == Health::spike && spike_.action == "skip");
}

bool Guard::wants_rollback() const {
  if (state_.not_finite_in_a_row >= nan_.max_consecutive) return true;
  return spike_.action == "rollback" && std::ssize(state_.spikes) >= spike_.count;
}

Health Guard::trouble() const {
  if (state_.not_finite_in_a_row > 0) return Health::not_finite;
  return state_.spikes.empty() ? Health::good : Health::spike;
}

bool Guard::may_roll_back() const {
  const Health why = trouble();
  const auto done = std::count_if(state_.rollbacks.begin(), state_.rollbacks.end(),
                                  [&](const Rollback& r) { return r.why == why; });
  return done < (why == Health::not_finite ? nan_.max_rollbacks : spike_.max_rollbacks);
}

std::int64_t Guard::choose(const std::vector<std::int64_t>& steps) const {
  std::int64_t proven = -1, earlier = -1;
  for (const std::int64_t step : steps) {
    const bool undone = std::any_of(state_.rollbacks.begin(), state_.rollbacks.end(),
                                    [&](const Rollback& r) { return step > r.to && step < r.at; });
    if (undone || step >= state_.trouble_since) continue;
    earlier = std::max(earlier, step);
    if (step + 1 < state_.trouble_since) proven = std::max(proven, step);
  }
  return proven >= 0 ? proven : earlier;
}

void Guard::rolled_back(const GuardState& then, std::int64_t to, std::int64_t at) {
  std::vector<Rollback> rollbacks = state_.rollbacks;
  rollbacks.push_back({to, at, trouble()});
  state_ = then;
  state_.rollbacks = std::move(rollbacks);
  state_.not_finite_in_a_row = 0;
  state_.spikes.clear();
  state_.trouble_since = 0;
}

}  // namespace plumbline
