// Loader and print_order: options to a plan and a pipeline, batches to counts.
#include <algorithm>
#include <bit>
#include <chrono>

#include "core/file.h"
#include "data/parallel.h"
#include "data/pipeline.h"
#include "plumbline/data.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::int64_t kMegabyte = 1 << 20;
constexpr std::int64_t kThreadBytes = 2 * static_cast<std::int64_t>(kSmallImageBytes);

void check(const DataOptions& options, const LoaderContext& context) {
  if (options.sampling != "permute" && options.sampling != "replace") {
    throw UsageError(str("data.sampling: '", options.sampling, "' is neither permute nor replace"));
  }
  const std::string& mode = options.train_transform.mode;
  if (mode != "crop" && mode != "eval" && mode != "simclr") {
    throw UsageError(str("data.train_transform.mode: '", mode, "' is none of crop, eval, simclr"));
  }
  if (options.train_transform.views < 1) {
    throw UsageError(
        str("data.train_transform.views: ", options.train_transform.views, " is below 1"));
  }
  for (const SourceOptions& source : options.sources) {
    if (context.classes == 0 || !source.label.key.empty() || !source.synthetic.empty()) continue;
    throw UsageError(str("source ", source.name, ": label: key is missing: training on ",
                         context.classes, " classes needs labels"));
  }
  if (options.threads < 0) throw UsageError(str("data.threads: ", options.threads, " is below 0"));
  if (context.world < 1 || context.rank < 0 || context.rank >= context.world) {
    throw UsageError(str("rank ", context.rank, " of ", context.world, " ranks"));
  }
}

int build_threads(const DataOptions& options, const LoaderContext& context) {
  if (options.threads > 0) return options.threads;
  return std::max(1, available_threads() / (2 * std::max(1, context.local_world)));
}

OrderPlan make_plan(const DataOptions& options, const LoaderContext& context,
                    const std::vector<std::unique_ptr<Source>>& sources, int lanes) {
  PlanOptions plan;
  plan.seed = context.seed;
  plan.global_batch = context.global_batch;
  plan.world = context.world;
  plan.lanes = lanes;
  plan.vshard = options.vshard;
  plan.replace = options.sampling == "replace";
  plan.weights = options.weights;
  plan.allow_repeats = options.allow_repeats;
  std::vector<PlanSource> shapes;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    shapes.push_back({sources[i]->name(), sources[i]->size(), options.sources[i].weight});
  }
  return OrderPlan(plan, std::move(shapes));
}

/// Exact, unlike what operator<< prints.
std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

std::string settings_text(const DataOptions& o, const LoaderContext& context) {
  const TrainTransformOptions& t = o.train_transform;
  const PreprocessOptions& p = context.preprocess;
  std::string text =
      str(o.sampling, " ", o.weights, " ", o.vshard, " ", t.mode, " ", bits(t.scale[0]), " ",
          bits(t.scale[1]), " ", bits(t.ratio[0]), " ", bits(t.ratio[1]), " ", t.views, " ",
          p.height, " ", p.width, " ", static_cast<int>(o.resize_order), " ", o.limits.max_pixels,
          " ", o.limits.max_side, " ", o.limits.max_bytes);
  if (t.flip != 0 || t.color_jitter_prob != 0 || t.gray_scale_prob != 0) {
    text += str("\ncolour ", bits(t.flip), " ", bits(t.color_jitter_prob), " ",
                bits(t.gray_scale_prob));
    for (const double spread : t.color_jitter) text += str(" ", bits(spread));
  }
  for (const SourceOptions& s : o.sources) {
    text += str("\nsource ", s.name, " ", bits(s.weight), " ", s.captions.join, s.captions.none,
                " ", s.captions.lines);
    for (const std::string& key : s.captions.keys) text += "\nkey " + key;
    for (const double prob : s.captions.probs) text += str("\nprob ", bits(prob));
    for (const std::string& step : s.captions.clean) text += "\nclean " + step;
    for (const std::string& key : s.image_keys) text += "\nimage " + key;
    for (const std::string& name : s.columns.captions) text += "\ncolumn " + name;
    if (context.classes > 0)
      text += str("\nlabel ", s.label.key, " ", s.label.names, " of ", context.classes);
  }
  return text;
}

/// "settings:1a2b3c4d5e6f;NAME:SAMPLES:1a2b3c4d5e6f;...": parts, so that the first difference has a
/// name.
std::string fingerprint_of(const DataOptions& options, const LoaderContext& context,
                           const std::vector<std::unique_ptr<Source>>& sources) {
  std::string text = "settings:" + sha256_hex(settings_text(options, context)).substr(0, 12);
  for (const auto& source : sources) {
    text += str(";", source->name(), ":", source->size(), ":", source->fingerprint().substr(0, 12));
  }
  return text;
}

std::string part(const std::string& fingerprint, std::size_t i) {
  std::size_t begin = 0;
  for (; i > 0 && begin != std::string::npos; --i) {
    begin = fingerprint.find(';', begin);
    if (begin != std::string::npos) ++begin;
  }
  if (begin == std::string::npos) return "nothing";
  return fingerprint.substr(begin, fingerprint.find(';', begin) - begin);
}

void check_resume(const LoaderState& from, const std::string& fingerprint, int lanes,
                  const DataOptions& options, const LoaderContext& context) {
  if (from.seed != context.seed) {
    throw UsageError(str("run.seed is ", context.seed,
                         ", but the order to go on with was made from seed ", from.seed));
  }
  if (options.lanes != 0 && options.lanes != from.lanes) {
    throw UsageError(
        str("data.lanes is ", options.lanes, ", but the order to go on with has ", from.lanes));
  }
  // Without a fingerprint (an imported checkpoint) the order is this run's own.
  for (std::size_t i = 0; !from.fingerprint.empty() && from.fingerprint != fingerprint; ++i) {
    const std::string was = part(from.fingerprint, i);
    const std::string is = part(fingerprint, i);
    if (was == is) continue;
    throw DataError(str("the data changed since the checkpoint: it was ", was, ", now it is ", is,
                        " (", i == 0 ? "order, caption or image settings" : "source:samples:hash",
                        ")"));
  }
  if (from.position < 0 || from.position % lanes != 0) {
    throw UsageError(str("position ", from.position, " is no multiple of the ", lanes, " lanes"));
  }
}

std::int64_t slot_bytes(const DataOptions& options, const LoaderContext& context) {
  const PreprocessOptions& p = context.preprocess;
  const std::int64_t ids = context.tokenizer ? context.tokenizer->context_length() : 0;
  return context.global_batch / context.world *
         (std::int64_t{3} * p.height * p.width * options.train_transform.views + 4 * ids + 256);
}

struct Bound {
  PipelineSizes sizes;
  std::int64_t bytes;
};

Bound bound_of(const DataOptions& options, const LoaderContext& context, const OrderPlan& plan) {
  Bound bound{};
  PipelineSizes& sizes = bound.sizes;
  sizes.build_threads = build_threads(options, context);
  sizes.read_threads = std::clamp(sizes.build_threads, 4, 16);
  sizes.large_bytes = kBytesPerPixel * static_cast<std::size_t>(options.limits.max_pixels);
  std::int64_t records = 0;
  for (std::size_t i = 0; i < plan.source_count(); ++i) {
    records += static_cast<std::int64_t>(plan.vshard_size(static_cast<int>(i))) *
               static_cast<std::int64_t>(sizeof(SampleRef)) * plan.lanes() / context.world;
  }
  const std::int64_t limit = options.memory_mb * kMegabyte;
  const std::int64_t fixed =
      records + sizes.build_threads * kThreadBytes + static_cast<std::int64_t>(sizes.large_bytes);
  const std::int64_t least_read = 16 * kMegabyte;
  const std::int64_t slot = slot_bytes(options, context);
  sizes.slots = fixed + 3 * slot + least_read <= limit ? 3 : 2;
  const std::int64_t rest = limit - fixed - sizes.slots * slot;
  if (rest < least_read) {
    throw UsageError(
        str("data.memory_mb: ", options.memory_mb,
            " is too small: ", (fixed + 2 * slot + least_read + kMegabyte - 1) / kMegabyte,
            " needed for two batches of ", context.global_batch / context.world, " rows, ",
            sizes.build_threads, " threads and one image of data.limits.max_pixels"));
  }
  sizes.read_bytes = static_cast<std::size_t>(std::min(rest, 512 * kMegabyte));
  bound.bytes = fixed + sizes.slots * slot + static_cast<std::int64_t>(sizes.read_bytes);
  return bound;
}

std::vector<std::string> names_of(const std::vector<std::unique_ptr<Source>>& sources) {
  std::vector<std::string> names;
  for (const auto& source : sources) names.push_back(source->name());
  return names;
}

}  // namespace

std::int64_t LoaderStats::bad_samples() const {
  std::int64_t sum = 0;
  for (const SourceCounts& source : sources) {
    for (const std::int64_t n : source.bad) sum += n;
  }
  return sum;
}

struct Loader::State {
  DataOptions options;
  LoaderContext context;
  std::vector<std::unique_ptr<Source>> sources;
  std::string fingerprint;
  OrderPlan plan;
  Bound bound;
  std::int64_t position;
  ErrorLog errors;
  LoaderStats stats;
  std::unique_ptr<Pipeline> pipeline;
  std::chrono::steady_clock::time_point started;

  State(const DataOptions& o, const LoaderContext& c, const std::optional<LoaderState>& from)
      : options(o),
        context(c),
        sources(open_sources(options, context, 2 * build_threads(options, context))),
        fingerprint(fingerprint_of(options, context, sources)),
        plan(make_plan(options, context, sources, from ? from->lanes : options.lanes)),
        bound(bound_of(options, context, plan)),
        position(from ? from->position : 0),
        errors(options.errors, names_of(sources), context.quarantine_path, context.warn) {
    if (from) check_resume(*from, fingerprint, plan.lanes(), options, context);
    for (const auto& source : sources) {
      SourceCounts counts;
      counts.name = source->name();
      counts.excluded = source->excluded();
      stats.sources.push_back(counts);
    }
    stats.threads = bound.sizes.build_threads;
    started = std::chrono::steady_clock::now();
    pipeline = std::make_unique<Pipeline>(options, context, bound.sizes, plan, sources,
                                          position / context.global_batch,
                                          static_cast<std::uint64_t>(position / plan.lanes()));
  }

  void account(const Slot& slot) {
    for (std::size_t i = 0; i < slot.outcome.size(); ++i) {
      const RowOutcome& outcome = slot.outcome[i];
      const int source = slot.place[i].source;
      SourceCounts& counts = stats.sources[static_cast<std::size_t>(source)];
      ++counts.delivered;
      counts.bytes += outcome.bytes;
      counts.substitutes += outcome.refused.empty() ? 0 : 1;
      for (const Refusal& refusal : outcome.refused) {
        ++counts.bad[static_cast<std::size_t>(refusal.bad.reason)];
      }
      stats.truncated_captions += outcome.truncated ? 1 : 0;
      errors.row(source, outcome.refused,
                 outcome.refused.empty() ? std::string() : slot.batch.row[i].key);
    }
  }
};

Loader::Loader(const DataOptions& options, const LoaderContext& context,
               const std::optional<LoaderState>& from) {
  check(options, context);
  state_ = std::make_unique<State>(options, context, from);
}

Loader::~Loader() = default;

const Batch* Loader::next() {
  const auto start = std::chrono::steady_clock::now();
  Slot& slot = state_->pipeline->next();
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - start;
  state_->stats.consumer_wait_s += waited.count();
  state_->account(slot);
  state_->position += state_->context.global_batch;
  return &slot.batch;
}

void Loader::release(const Batch* batch) { state_->pipeline->release(batch); }

LoaderState Loader::state() const {
  LoaderState state;
  state.position = state_->position;
  state.epoch = state_->position / state_->plan.epoch_rows();
  state.fingerprint = state_->fingerprint;
  state.seed = state_->context.seed;
  state.lanes = state_->plan.lanes();
  return state;
}

LoaderStats Loader::stats() const {
  LoaderStats stats = state_->stats;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - state_->started;
  stats.elapsed_s = elapsed.count();
  state_->pipeline->add_times(stats);
  for (std::size_t i = 0; i < stats.sources.size(); ++i) {
    stats.sources[i].retries = state_->sources[i]->retries();
  }
  return stats;
}

std::string Loader::activity() const { return state_->pipeline->activity(); }

std::int64_t Loader::epoch_samples() const { return state_->plan.epoch_rows(); }

std::int64_t Loader::memory_bound() const { return state_->bound.bytes; }

void print_order(const DataOptions& options, const LoaderContext& context, std::int64_t first_step,
                 std::int64_t steps,
                 const std::function<void(std::int64_t, const std::vector<Row>&)>& visit) {
  check(options, context);
  const auto sources = open_sources(options, context, available_threads());
  const OrderPlan plan = make_plan(options, context, sources, options.lanes);
  const auto per_lane = static_cast<std::uint64_t>(plan.rows_per_lane());
  const std::uint64_t first_row = static_cast<std::uint64_t>(first_step) * per_lane;
  std::vector<LaneCursor> lanes;
  for (int c = 0; c < plan.lanes(); ++c) lanes.emplace_back(plan, c, first_row);
  std::vector<SampleRef> refs;
  std::vector<Row> rows(static_cast<std::size_t>(context.global_batch));
  for (std::int64_t step = first_step; step < first_step + steps; ++step) {
    std::size_t i = 0;
    for (std::size_t c = 0; c < lanes.size(); ++c) {
      for (std::uint64_t k = 0; k < per_lane; ++k, ++i) {
        const Place place = lanes[c].next();
        const Source& source = *sources[static_cast<std::size_t>(place.source)];
        const std::uint64_t p = static_cast<std::uint64_t>(step) * per_lane + k;
        refs.clear();
        source.find(place.ordinal, 1, refs);
        rows[i] = {p * lanes.size() + c, place.source, source.key(refs[0]), false};
      }
    }
    visit(step, rows);
  }
}

}  // namespace plumbline
