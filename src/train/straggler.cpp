#include "train/straggler.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

namespace plumbline {
namespace {

constexpr std::int64_t kNumbers = 4;  // of a RankTimes

void add(RankTimes& sum, const RankTimes& part) {
  sum.steps += part.steps;
  sum.step_s += part.step_s;
  sum.data_wait_s += part.data_wait_s;
  sum.comm_wait_s += part.comm_wait_s;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

std::vector<double> own_seconds(const std::vector<RankTimes>& ranks) {
  std::vector<double> own;
  for (const RankTimes& r : ranks) own.push_back(r.own_s());
  return own;
}

}  // namespace

void StragglerTable::add(double step_s, double data_wait_s, double comm_wait_s) {
  plumbline::add(mine_, {1, step_s, data_wait_s, comm_wait_s});
}

std::vector<RankTimes> StragglerTable::close_window() {
  const double send[kNumbers] = {mine_.steps, mine_.step_s, mine_.data_wait_s, mine_.comm_wait_s};
  std::vector<double> all(static_cast<std::size_t>(kNumbers * host_.size()));
  host_.all_gather(send, all.data(), kNumbers, ElementType::f64);
  mine_ = {};
  std::vector<RankTimes> window;
  for (std::size_t i = 0; i < all.size(); i += kNumbers) {
    window.push_back({all[i], all[i + 1], all[i + 2], all[i + 3]});
  }
  if (window.front().steps == 0) return {};
  total_.resize(window.size());
  for (std::size_t r = 0; r < window.size(); ++r) plumbline::add(total_[r], window[r]);
  look_for_stragglers(window);
  return window;
}

void StragglerTable::look_for_stragglers(const std::vector<RankTimes>& window) {
  slow_windows_.resize(window.size());
  straggler_.reset();
  const double usual = median(own_seconds(window));
  std::vector<double> waits;
  for (const RankTimes& r : window) waits.push_back(r.data_wait_s);
  const double usual_wait = median(waits);
  for (std::size_t r = 0; r < window.size(); ++r) {
    const RankTimes& rank = window[r];
    slow_windows_[r] = rank.own_s() > kSlow * usual ? slow_windows_[r] + 1 : 0;
    if (slow_windows_[r] != kWindows) continue;
    const double own_ms = 1000 * rank.own_s() / rank.steps;
    if (straggler_ && straggler_->own_ms >= own_ms) continue;
    const double excess = rank.own_s() - usual;
    straggler_ = Straggler{static_cast<int>(r),
                           rank.data_wait_s - usual_wait > excess / 2 ? "data" : "compute", own_ms,
                           1000 * usual / rank.steps};
  }
}

RankSpread spread_of(const std::vector<RankTimes>& ranks) {
  RankSpread out;
  if (ranks.empty()) return out;
  const auto n = static_cast<double>(ranks.size());
  double slowest = -1;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const RankTimes& rank = ranks[r];
    const double data = rank.data_wait_s / rank.step_s;
    const double busy_ms = 1000 * rank.busy_s() / rank.steps;
    out.data_wait_frac += data / n;
    out.data_wait_frac_max = std::max(out.data_wait_frac_max, data);
    out.comm_wait_frac += rank.comm_wait_s / rank.step_s / n;
    out.comm_wait_ms += 1000 * rank.comm_wait_s / rank.steps / n;
    out.busy_ms_min = r == 0 ? busy_ms : std::min(out.busy_ms_min, busy_ms);
    out.busy_ms_max = std::max(out.busy_ms_max, busy_ms);
    if (rank.own_s() <= slowest) continue;
    slowest = rank.own_s();
    out.slowest_rank = static_cast<int>(r);
  }
  return out;
}

std::string rank_table_json(const std::vector<RankTimes>& ranks, std::size_t most) {
  std::vector<std::size_t> order(ranks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return ranks[a].own_s() > ranks[b].own_s();
  });
  if (order.size() > most) order.resize(most);
  auto table = nlohmann::ordered_json::array();
  for (const std::size_t r : order) {
    const RankTimes& rank = ranks[r];
    const double to_ms = rank.steps > 0 ? 1000 / rank.steps : 0;
    table.push_back({{"rank", r},
                     {"step_ms", to_ms * rank.step_s},
                     {"busy_ms", to_ms * rank.busy_s()},
                     {"data_wait_ms", to_ms * rank.data_wait_s},
                     {"comm_wait_ms", to_ms * rank.comm_wait_s}});
  }
  return table.dump();
}

}  // namespace plumbline
