#include "data/order_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/file.h"
#include "core/philox.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::int64_t kMaxLanes = 512;
constexpr std::uint64_t kMaxPeriod = 1'000'000;
constexpr double kQuotaTolerance = 0.005;

std::string allowed_worlds(int lanes) {
  std::string text;
  for (int w = 1; w <= lanes; ++w) {
    if (lanes % w == 0) text += (text.empty() ? "" : ", ") + std::to_string(w);
  }
  return text;
}

}  // namespace

std::uint64_t source_key(std::uint64_t seed, const std::string& name) {
  const std::string digest = sha256_hex(name);
  std::uint64_t x = 0;
  for (std::size_t i = 8; i-- > 0;) {
    x = x << 8 | std::stoull(digest.substr(2 * i, 2), nullptr, 16);
  }
  return derive(seed, Purpose::source, x);
}

std::vector<std::uint64_t> largest_remainder(const std::vector<double>& shares,
                                             std::uint64_t total) {
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<std::uint64_t> parts;
  std::vector<double> remainder;
  std::uint64_t given = 0;
  for (const double share : shares) {
    const double exact = share / sum * static_cast<double>(total);
    parts.push_back(static_cast<std::uint64_t>(exact));
    remainder.push_back(exact - std::floor(exact));
    given += parts.back();
  }
  std::vector<std::size_t> order(shares.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return remainder[a] > remainder[b]; });
  for (std::size_t i = 0; given < total; ++i, ++given) ++parts[order[i % order.size()]];
  return parts;
}

OrderPlan::OrderPlan(const PlanOptions& options, std::vector<PlanSource> sources)
    : options_(options) {
  if (sources.empty()) throw UsageError("data.sources: no source");
  choose_lanes();
  if (options_.vshard < 1) throw UsageError(str("data.vshard: ", options_.vshard, " is below 1"));
  for (PlanSource& source : sources) {
    if (source.samples == 0) throw UsageError(str("source ", source.name, ": no usable sample"));
    if (!(source.weight > 0) || !std::isfinite(source.weight)) {
      throw UsageError(str("source ", source.name, ": weight ", source.weight, " is not positive"));
    }
    Shape shape;
    shape.key = source_key(options_.seed, source.name);
    shape.source = std::move(source);
    cut_into_vshards(shape);
    sources_.push_back(std::move(shape));
  }
  weigh();
}

void OrderPlan::choose_lanes() {
  const std::int64_t batch = options_.global_batch;
  const int world = options_.world;
  if (batch < 1) throw UsageError(str("global_batch ", batch, " is below 1"));
  if (world < 1 || batch % world != 0) {
    throw UsageError(str("global_batch ", batch, " is no multiple of the ", world, " ranks"));
  }
  lanes_ = options_.lanes;
  if (lanes_ == 0) {
    for (std::int64_t c = std::min(kMaxLanes, batch); c >= 1 && lanes_ == 0; --c) {
      if (batch % c == 0 && c % world == 0) lanes_ = static_cast<int>(c);
    }
    // More ranks than 512 lanes allow: a lane for each rank.
    if (lanes_ == 0) lanes_ = world;
  }
  if (lanes_ < 1 || batch % lanes_ != 0) {
    throw UsageError(str("data.lanes: ", lanes_, " does not divide global_batch ", batch));
  }
  if (lanes_ % world != 0) {
    throw UsageError(str(world, " ranks do not divide the ", lanes_,
                         " lanes of this order; possible: ", allowed_worlds(lanes_)));
  }
}

void OrderPlan::cut_into_vshards(Shape& shape) const {
  const std::uint64_t n = shape.source.samples;
  const std::uint64_t wanted = 8 * static_cast<std::uint64_t>(lanes_);
  std::uint64_t size = static_cast<std::uint64_t>(options_.vshard);
  while (size > 1 && (n + size - 1) / size < wanted) size /= 2;
  shape.vshard_size = size;
  shape.vshards = (n + size - 1) / size;
}

void OrderPlan::weigh() {
  std::vector<double> shares;
  double epoch = 0;
  for (const Shape& shape : sources_) {
    const auto n = static_cast<double>(shape.source.samples);
    const bool by_size = options_.weights != "proportion";
    shares.push_back(by_size ? shape.source.weight * n : shape.source.weight);
    epoch += options_.weights == "repeat" ? shape.source.weight * n : n;
  }
  if (options_.weights != "proportion" && options_.weights != "factor" &&
      options_.weights != "repeat") {
    throw UsageError(
        str("data.weights: '", options_.weights, "' is none of proportion, factor, repeat"));
  }
  epoch_rows_ = static_cast<std::int64_t>(std::llround(epoch));
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= sum;
  for (;; period_ *= 10) {
    quotas_ = largest_remainder(shares, period_);
    bool close = true;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      const double got = static_cast<double>(quotas_[i]) / static_cast<double>(period_);
      close = close && std::abs(got - shares[i]) <= kQuotaTolerance * shares[i];
    }
    if (close) break;
    if (period_ == kMaxPeriod) {
      throw UsageError("data.sources: a weight is too small beside the others (below 1e-4)");
    }
  }
  check_enough(shares);
}

void OrderPlan::check_enough(const std::vector<double>& shares) const {
  if (options_.allow_repeats) return;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const double wanted = shares[i] * static_cast<double>(options_.global_batch);
    const std::uint64_t n = sources_[i].source.samples;
    if (static_cast<double>(n) < wanted) {
      throw UsageError(str("source ", sources_[i].source.name, ": ", n, " samples, but a batch of ",
                           options_.global_batch, " takes ", wanted,
                           " of it, so rows would repeat; allow_repeats: true permits that"));
    }
  }
}

std::uint64_t OrderPlan::vshard_count(int source) const {
  return sources_[static_cast<std::size_t>(source)].vshards;
}

std::uint64_t OrderPlan::vshard_size(int source) const {
  return sources_[static_cast<std::size_t>(source)].vshard_size;
}

Vshard OrderPlan::vshard_at(int source, int lane, std::uint64_t turn) const {
  const Shape& s = sources_[static_cast<std::size_t>(source)];
  const auto c = static_cast<std::uint64_t>(lane);
  const std::uint64_t j = c + turn * static_cast<std::uint64_t>(lanes_);
  const std::uint64_t epoch_key = derive(s.key, Purpose::epoch, j / s.vshards);
  if (!options_.replace) {
    return vshard_of(s, epoch_key, permute(epoch_key, s.vshards, j % s.vshards));
  }
  const std::uint64_t lane_key = derive(s.key, Purpose::replace, c);
  return vshard_of(s, epoch_key, scale_to(derive(lane_key, Purpose::replace, turn), s.vshards));
}

Vshard OrderPlan::vshard_of(const Shape& shape, std::uint64_t epoch_key,
                            std::uint64_t index) const {
  Vshard v;
  v.index = index;
  v.first = index * shape.vshard_size;
  v.size = std::min(shape.vshard_size, shape.source.samples - v.first);
  v.key = derive(epoch_key, Purpose::vshard, index);
  return v;
}

Place OrderPlan::instead_of(const Place& place, int lane, std::uint64_t attempt) const {
  const Shape& s = sources_[static_cast<std::size_t>(place.source)];
  const std::uint64_t j =
      static_cast<std::uint64_t>(lane) + place.turn * static_cast<std::uint64_t>(lanes_);
  const std::uint64_t stream = derive(s.key, Purpose::substitute, j);
  const std::uint64_t index = scale_to(derive(stream, Purpose::substitute, attempt), s.vshards);
  const std::uint64_t row =
      permute_inverse(place.vshard.key, place.vshard.size, place.ordinal - place.vshard.first);
  Place other = place;
  other.vshard = vshard_of(s, derive(s.key, Purpose::epoch, j / s.vshards), index);
  other.ordinal =
      other.vshard.first + permute(other.vshard.key, other.vshard.size, row % other.vshard.size);
  return other;
}

/// Where a lane stands after n rows of a source: all vshards are full but the last one of the
/// source, which comes once an epoch, to one lane.
OrderPlan::Spot OrderPlan::locate(int source, int lane, std::uint64_t n) const {
  const Shape& s = sources_[static_cast<std::size_t>(source)];
  const std::uint64_t short_size = s.source.samples - (s.vshards - 1) * s.vshard_size;
  const std::uint64_t lack = s.vshard_size - short_size;
  if (lack == 0) return {n / s.vshard_size, n % s.vshard_size};
  std::uint64_t virtual_row = n;  // as if every vshard were full
  if (options_.replace) {
    // Short ones come at random: count them.
    for (std::uint64_t turn = 0; (turn + 1) * s.vshard_size <= virtual_row + lack; ++turn) {
      if (vshard_at(source, lane, turn).size < s.vshard_size &&
          virtual_row >= turn * s.vshard_size + short_size) {
        virtual_row += lack;
      }
    }
    return {virtual_row / s.vshard_size, virtual_row % s.vshard_size};
  }
  const auto lanes = static_cast<std::uint64_t>(lanes_);
  for (std::uint64_t epoch = 0;; ++epoch) {
    const std::uint64_t key = derive(s.key, Purpose::epoch, epoch);
    const std::uint64_t j = epoch * s.vshards + permute_inverse(key, s.vshards, s.vshards - 1);
    if (j / lanes * s.vshard_size + short_size > virtual_row) {
      // Later epochs' short vshards begin later still, whichever lane they go to.
      if (epoch * s.vshards / lanes * s.vshard_size > virtual_row + s.vshard_size) break;
      continue;
    }
    if (j % lanes == static_cast<std::uint64_t>(lane)) virtual_row += lack;
  }
  return {virtual_row / s.vshard_size, virtual_row % s.vshard_size};
}

int OrderPlan::source_of_slot(std::uint64_t slot) const {
  std::size_t i = 0;
  for (std::uint64_t sum = quotas_[0]; slot >= sum; sum += quotas_[++i]) {
  }
  return static_cast<int>(i);
}

std::uint64_t OrderPlan::period_key(int lane, std::uint64_t period) const {
  const std::uint64_t lane_key =
      derive(options_.seed, Purpose::mix, static_cast<std::uint64_t>(lane));
  return derive(lane_key, Purpose::mix, period);
}

LaneCursor::LaneCursor(const OrderPlan& plan, int lane, std::uint64_t first_row)
    : plan_(&plan), lane_(lane), row_(first_row), reading_(plan.source_count()) {
  const std::uint64_t period = first_row / plan.period();
  std::vector<std::uint64_t> rows;
  for (const std::uint64_t quota : plan.quotas()) rows.push_back(quota * period);
  if (plan.source_count() == 1) {
    rows[0] = first_row;
  } else {
    period_key_ = plan.period_key(lane, period);
    for (std::uint64_t p = period * plan.period(); p < first_row; ++p) {
      const std::uint64_t slot = permute(period_key_, plan.period(), p % plan.period());
      ++rows[static_cast<std::size_t>(plan.source_of_slot(slot))];
    }
  }
  for (std::size_t i = 0; i < reading_.size(); ++i) {
    const OrderPlan::Spot spot = plan.locate(static_cast<int>(i), lane, rows[i]);
    reading_[i] = {spot.turn, spot.row, plan.vshard_at(static_cast<int>(i), lane, spot.turn)};
  }
}

int LaneCursor::next_source() {
  const std::uint64_t row = row_++;
  if (plan_->source_count() == 1) return 0;
  const std::uint64_t in_period = row % plan_->period();
  if (in_period == 0) period_key_ = plan_->period_key(lane_, row / plan_->period());
  return plan_->source_of_slot(permute(period_key_, plan_->period(), in_period));
}

Place LaneCursor::next() {
  const int source = next_source();
  Reading& reading = reading_[static_cast<std::size_t>(source)];
  if (reading.row == reading.vshard.size) {
    reading.row = 0;
    reading.vshard = plan_->vshard_at(source, lane_, ++reading.turn);
  }
  const std::uint64_t inner = permute(reading.vshard.key, reading.vshard.size, reading.row++);
  return {source, reading.vshard.first + inner, reading.vshard, reading.turn};
}

}  // namespace plumbline
