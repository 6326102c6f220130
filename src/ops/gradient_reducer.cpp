// Layout first, then the life of a step. All state changes happen on the thread that runs
// backward, or on autograd's device thread while that one waits.
#include "ops/gradient_reducer.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>

#include "ops/collectives.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::int64_t kParameterAlignment = 128;  // bytes: a cache line pair, and NCCL's best case

[[nodiscard]] std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

[[nodiscard]] double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

struct GradientReducer::State {
  struct Slot {
    std::string name;
    at::Tensor parameter;
    at::Tensor gradient;  // view of the flat buffer
    std::size_t bucket = 0;
    bool ready = false;
    std::shared_ptr<torch::autograd::Node> accumulator;  // the tensor holds it weakly
  };
  struct Bucket {
    at::Tensor flat;  // contiguous slice, padding included
    std::int64_t parameters = 0;
    std::int64_t missing = 0;
  };

  State(Communicator& communicator, bool shard)
      : ranks(communicator), sharded(shard && communicator.size() > 1) {}

  void lay_out(std::int64_t bucket_bytes);
  void lay_out_type(at::ScalarType type, std::int64_t bucket_bytes);
  void check_same_on_all_ranks() const;
  void ready(std::size_t slot);
  void launch_complete_buckets();
  void launch(const Bucket& bucket);
  /// This rank's 1/W of a bucket.
  [[nodiscard]] at::Tensor shard(const Bucket& bucket) const {
    const std::int64_t each = bucket.flat.numel() / ranks.size();
    return bucket.flat.narrow(0, each * ranks.rank(), each);
  }
  [[nodiscard]] StreamHandle stream() const {
    return comm_stream ? comm_stream->native_handle() : nullptr;
  }
  void begin_step();
  void wait_for_device();
  void collect_device_wait();

  Communicator& ranks;
  bool sharded = false;
  std::vector<Slot> slots;  // in reverse forward order
  std::vector<Bucket> buckets;
  std::vector<at::Tensor> flats;
  std::vector<std::string> unused;
  std::size_t next_bucket = 0;
  bool sync = true;
  std::int64_t bytes = 0;
  double waited_s = 0;
  at::Device device = at::kCPU;
  // GPU only. `waited` events time how long compute stood still at finish().
  std::optional<c10::Stream> comm_stream;
  std::optional<c10::Event> produced, sent, wait_begin, wait_end;
  bool wait_pending = false;
};

namespace {

/// Runs after autograd has added a gradient into `.grad`.
class ReadyHook : public torch::autograd::FunctionPostHook {
 public:
  explicit ReadyHook(std::function<void()> ready) : ready_(std::move(ready)) {}
  torch::autograd::variable_list operator()(
      const torch::autograd::variable_list& outputs,
      const torch::autograd::variable_list& /*inputs*/) override {
    ready_();
    return outputs;
  }

 private:
  std::function<void()> ready_;
};

}  // namespace

void GradientReducer::State::lay_out(std::int64_t bucket_bytes) {
  std::vector<at::ScalarType> types;
  for (const Slot& slot : slots) {
    const at::ScalarType type = slot.parameter.scalar_type();
    if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
  }
  for (const at::ScalarType type : types) lay_out_type(type, bucket_bytes);
}

void GradientReducer::State::lay_out_type(at::ScalarType type, std::int64_t bucket_bytes) {
  const auto element = static_cast<std::int64_t>(c10::elementSize(type));
  const std::int64_t align = kParameterAlignment / element;
  // Every rank's share of a bucket is then whole and aligned.
  const std::int64_t bucket_unit = std::lcm(std::int64_t{32} * ranks.size(), align);
  std::vector<std::pair<std::size_t, std::int64_t>> places;  // slot, offset in the flat buffer
  std::vector<std::int64_t> begins;                          // of each bucket
  std::int64_t end = 0;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].parameter.scalar_type() != type) continue;
    const std::int64_t count = slots[i].parameter.numel();
    const bool full = begins.empty() || (end > begins.back() &&
                                         (end - begins.back() + count) * element > bucket_bytes);
    if (full) {
      end = round_up(end, bucket_unit);
      begins.push_back(end);
      buckets.emplace_back();
    }
    places.emplace_back(i, end);
    slots[i].bucket = buckets.size() - 1;
    ++buckets.back().parameters;
    end = round_up(end + count, align);
  }
  begins.push_back(round_up(end, bucket_unit));
  const at::Tensor flat =
      at::zeros({begins.back()}, at::TensorOptions().dtype(type).device(device));
  flats.push_back(flat);
  const std::size_t first_bucket = buckets.size() - (begins.size() - 1);
  for (std::size_t k = 0; k + 1 < begins.size(); ++k) {
    buckets[first_bucket + k].flat = flat.narrow(0, begins[k], begins[k + 1] - begins[k]);
  }
  for (const auto& [i, offset] : places) {
    Slot& slot = slots[i];
    slot.gradient = flat.narrow(0, offset, slot.parameter.numel()).view(slot.parameter.sizes());
    slot.parameter.mutable_grad() = slot.gradient;
  }
}

void GradientReducer::State::check_same_on_all_ranks() const {
  // FNV-1a over names, sizes and types: in-order buckets are only right when layouts agree.
  std::uint64_t hash = 14695981039346656037ull;
  const auto mix = [&hash](const std::string& text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  };
  for (const Slot& slot : slots) {
    mix(plumbline::str(slot.name, ':', slot.parameter.sizes(), ':', slot.parameter.scalar_type(),
                       ';'));
  }
  const auto value = static_cast<std::int64_t>(hash >> 1);
  const at::Tensor lowest = at::tensor({value}, at::kLong).to(device);
  const at::Tensor highest = lowest.clone();
  all_reduce(lowest, Reduce::min, ranks);
  all_reduce(highest, Reduce::max, ranks);
  if (lowest.item<std::int64_t>() != highest.item<std::int64_t>()) {
    throw Error(str("the ranks train different parameters (rank ", ranks.rank(), " has ",
                    slots.size(), "): names, shapes and types must agree"));
  }
}

void GradientReducer::State::begin_step() {
  for (Slot& slot : slots) slot.ready = false;
  for (Bucket& bucket : buckets) bucket.missing = bucket.parameters;
  next_bucket = 0;
}

void GradientReducer::State::ready(std::size_t index) {
  if (!sync) return;
  Slot& slot = slots[index];
  require(!slot.ready, str("parameter ", slot.name,
                           " got gradients from two synchronised backward passes of one step"));
  slot.ready = true;
  --buckets[slot.bucket].missing;
  if (comm_stream && ranks.size() > 1) {
    const c10::impl::VirtualGuardImpl guard(device.type());
    produced->record(guard.getStream(device));
    produced->block(*comm_stream);
  }
  launch_complete_buckets();
}

void GradientReducer::State::launch_complete_buckets() {
  while (next_bucket < buckets.size() && buckets[next_bucket].missing == 0) {
    launch(buckets[next_bucket]);
    ++next_bucket;
  }
}

void GradientReducer::State::launch(const Bucket& bucket) {
  if (ranks.size() == 1) return;
  const at::Tensor& flat = bucket.flat;
  const double begin = seconds_now();
  const ElementType type = element_type(flat.scalar_type());
  if (sharded) {
    const at::Tensor mine = shard(bucket);
    ranks.reduce_scatter(flat.data_ptr(), mine.data_ptr(), mine.numel(), type, Reduce::sum,
                         stream());
  } else {
    ranks.all_reduce(flat.data_ptr(), flat.numel(), type, Reduce::sum, stream());
  }
  if (!comm_stream) waited_s += seconds_now() - begin;
  bytes += static_cast<std::int64_t>(flat.nbytes());
}

void GradientReducer::State::wait_for_device() {
  if (!comm_stream || ranks.size() == 1) return;
  collect_device_wait();
  const c10::Stream compute = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  sent->record(*comm_stream);
  wait_begin->record(compute);
  sent->block(compute);
  wait_end->record(compute);
  wait_pending = true;
}

void GradientReducer::State::collect_device_wait() {
  if (!wait_pending) return;
  wait_end->synchronize();
  waited_s += wait_begin->elapsedTime(*wait_end) * 1e-3;
  wait_pending = false;
}

GradientReducer::GradientReducer(const Parameters& in_forward_order, Communicator& ranks,
                                 std::int64_t bucket_bytes, bool sharded)
    : state_(std::make_shared<State>(ranks, sharded)) {
  State& state = *state_;
  if (!in_forward_order.empty()) state.device = in_forward_order.front().second.device();
  for (auto it = in_forward_order.rbegin(); it != in_forward_order.rend(); ++it) {
    const auto& [name, parameter] = *it;
    require(parameter.requires_grad() && parameter.is_leaf(),
            str("parameter ", name, " is not a leaf that requires a gradient"));
    require(parameter.device() == state.device,
            str("parameter ", name, " is on ", parameter.device().str(), ", others on ",
                state.device.str()));
    state.slots.emplace_back();
    state.slots.back().name = name;
    state.slots.back().parameter = parameter;
  }
  state.lay_out(bucket_bytes);
  if (!state.device.is_cpu()) {
    const c10::impl::VirtualGuardImpl guard(state.device.type());
    state.comm_stream = guard.getStreamFromGlobalPool(state.device, /*isHighPriority=*/true);
    for (auto* event : {&state.produced, &state.sent}) event->emplace(state.device.type());
    for (auto* event : {&state.wait_begin, &state.wait_end}) {
      event->emplace(state.device.type(), c10::EventFlag::BACKEND_DEFAULT);
    }
  }
  state.check_same_on_all_ranks();
  state.begin_step();
  for (std::size_t i = 0; i < state.slots.size(); ++i) {
    // Created while the training stream is current: autograd accumulates on that one.
    auto& accumulator = state.slots[i].accumulator;
    accumulator = torch::autograd::impl::grad_accumulator(state.slots[i].parameter);
    accumulator->add_post_hook(
        std::make_unique<ReadyHook>([weak = std::weak_ptr<State>(state_), i] {
          if (const auto alive = weak.lock()) alive->ready(i);
        }));
  }
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::set_sync(bool sync) { state_->sync = sync; }

void GradientReducer::zero() {
  const at::NoGradGuard no_grad;
  for (const at::Tensor& flat : state_->flats) flat.zero_();
  state_->begin_step();
}

void GradientReducer::mark_ready(const at::Tensor& parameter) {
  for (std::size_t i = 0; i < state_->slots.size(); ++i) {
    if (state_->slots[i].parameter.is_same(parameter)) return state_->ready(i);
  }
  throw InternalError("mark_ready: not a parameter of this reducer");
}

void GradientReducer::finish() {
  State& state = *state_;
  state.unused.clear();
  for (const State::Slot& slot : state.slots) {
    require(slot.parameter.grad().is_same(slot.gradient) ||
                slot.parameter.grad().data_ptr() == slot.gradient.data_ptr(),
            str("the gradient of ", slot.name, " was replaced; it must stay a view"));
    if (!slot.ready) state.unused.push_back(slot.name);
  }
  if (state.comm_stream && state.ranks.size() > 1) {
    // Parameters without a hook call were zeroed on the current stream.
    state.produced->record(
        c10::impl::VirtualGuardImpl(state.device.type()).getStream(state.device));
    state.produced->block(*state.comm_stream);
  }
  for (State::Bucket& bucket : state.buckets) bucket.missing = 0;
  state.launch_complete_buckets();
  state.wait_for_device();
}

std::vector<GradientReducer::Slice> GradientReducer::owned() const {
  const State& state = *state_;
  std::vector<Slice> slices;
  for (auto slot = state.slots.rbegin(); slot != state.slots.rend(); ++slot) {
    const at::Tensor gradient = slot->gradient.view({-1});
    std::int64_t first = 0, end = gradient.numel();
    if (state.sharded) {
      const at::Tensor mine = state.shard(state.buckets[slot->bucket]);
      const std::int64_t shift = gradient.storage_offset() - mine.storage_offset();
      first = std::max<std::int64_t>(first, -shift);
      end = std::min(end, mine.numel() - shift);
    }
    if (first >= end) continue;
    slices.push_back(
        {slot->name, slot->parameter, first, end - first, gradient.narrow(0, first, end - first)});
  }
  return slices;
}

bool GradientReducer::sharded() const { return state_->sharded; }

GradientReducer::Parameters GradientReducer::gather(const std::vector<at::Tensor>& slices) {
  State& state = *state_;
  const std::vector<Slice> mine = owned();
  require(state.sharded && slices.size() == mine.size(), "gather: not the slices of this reducer");
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < mine.size(); ++i) mine[i].gradient.copy_(slices[i]);
  if (state.comm_stream) {
    state.produced->record(
        c10::impl::VirtualGuardImpl(state.device.type()).getStream(state.device));
    state.produced->block(*state.comm_stream);
  }
  const double begin = seconds_now();
  for (const State::Bucket& bucket : state.buckets) {
    const at::Tensor shard = state.shard(bucket);
    state.ranks.all_gather(shard.data_ptr(), bucket.flat.data_ptr(), shard.numel(),
                           element_type(shard.scalar_type()), state.stream());
    state.bytes += static_cast<std::int64_t>(bucket.flat.nbytes());
  }
  if (!state.comm_stream) state.waited_s += seconds_now() - begin;
  state.wait_for_device();
  Parameters whole;
  for (auto slot = state.slots.rbegin(); slot != state.slots.rend(); ++slot) {
    whole.emplace_back(slot->name, slot->gradient);
  }
  return whole;
}

void GradientReducer::share_parameters() {
  State& state = *state_;
  if (!state.sharded) return;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> updated;
  for (const Slice& slice : owned()) {
    updated.push_back(slice.parameter.detach().view({-1}).narrow(0, slice.first, slice.count));
  }
  (void)gather(updated);
  for (const State::Slot& slot : state.slots) slot.parameter.detach().copy_(slot.gradient);
}

double GradientReducer::norm() const {
  const State& state = *state_;
  double sum = 0;
  if (!state.sharded) {
    for (const at::Tensor& flat : state.flats) sum += sum_of_squares(flat);
    return std::sqrt(sum);
  }
  for (const State::Bucket& bucket : state.buckets) sum += sum_of_squares(state.shard(bucket));
  const at::Tensor total = at::tensor({sum}, at::kDouble).to(state.device);
  all_reduce(total, Reduce::sum, state.ranks);
  return std::sqrt(total.item<double>());
}

const std::vector<std::string>& GradientReducer::unused() const { return state_->unused; }

std::int64_t GradientReducer::bytes_reduced() const { return state_->bytes; }

double GradientReducer::seconds_waiting() const {
  state_->collect_device_wait();
  return state_->waited_s;
}

std::int64_t GradientReducer::buckets() const { return std::ssize(state_->buckets); }

}  // namespace plumbline
