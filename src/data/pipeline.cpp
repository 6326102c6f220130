#include "data/pipeline.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "data/remote_shard.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::int64_t kMaxChunkRows = 16;
constexpr std::size_t kAlignment = 64;

std::shared_ptr<void> plain_memory(std::size_t bytes) {
  return {::operator new(bytes, std::align_val_t(kAlignment)),
          [](void* p) { ::operator delete(p, std::align_val_t(kAlignment)); }};
}

/// Chunks that can be on their way: in queues, in hands, spare.
std::size_t chunks_of(const PipelineSizes& sizes) {
  return static_cast<std::size_t>(3 * (sizes.read_threads + sizes.build_threads) + 1);
}

std::size_t round_up(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

/// A lane of this rank: its cursor, and the samples of the vshards it is in.
struct Pipeline::LaneState {
  struct Known {
    std::uint64_t turn = ~std::uint64_t{0};
    std::vector<SampleRef> refs;
  };
  LaneCursor cursor;
  std::vector<Known> known;  ///< one a source
};

Pipeline::Pipeline(const DataOptions& options, const LoaderContext& context,
                   const PipelineSizes& sizes, const OrderPlan& plan,
                   const std::vector<std::unique_ptr<Source>>& sources, std::int64_t first_step,
                   std::uint64_t first_row)
    : options_(options),
      context_(context),
      plan_(plan),
      sources_(sources),
      rows_(context.global_batch / context.world),
      next_step_(first_step),
      to_read_(static_cast<std::size_t>(2 * sizes.read_threads)),
      to_build_(static_cast<std::size_t>(2 * sizes.build_threads)),
      spare_bytes_(sizes.read_bytes / 2 / chunks_of(sizes)),
      read_credit_(sizes.read_bytes / 2),
      large_images_(sizes.large_bytes),
      read_notes_(static_cast<std::size_t>(sizes.read_threads)),
      build_notes_(static_cast<std::size_t>(sizes.build_threads)),
      source_read_ns_(sources.size()) {
  chunk_rows_ = std::clamp<std::int64_t>(rows_ / (4 * sizes.build_threads), 1, kMaxChunkRows);
  for (int i = 0; i < sizes.slots; ++i) {
    slots_.push_back(std::make_unique<Slot>());
    allocate(*slots_.back());
  }
  threads_.emplace_back([=, this] { plan_batches(first_step, first_row); });
  for (ThreadNote& note : read_notes_) threads_.emplace_back([&] { read_chunks(note); });
  for (ThreadNote& note : build_notes_) threads_.emplace_back([&] { build_chunks(note); });
}

Pipeline::~Pipeline() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  for (const auto& source : sources_) source->stop();
  to_read_.stop();
  to_build_.stop();
  read_credit_.stop();
  large_images_.stop();
  for (std::thread& thread : threads_) thread.join();
}

void Pipeline::allocate(Slot& slot) const {
  const PreprocessOptions& p = context_.preprocess;
  const auto rows = static_cast<std::size_t>(rows_);
  const auto views = static_cast<std::size_t>(options_.train_transform.views);
  const std::size_t pixels =
      rows * views * 3 * static_cast<std::size_t>(p.height) * static_cast<std::size_t>(p.width);
  const std::size_t ids =
      context_.tokenizer ? rows * static_cast<std::size_t>(context_.tokenizer->context_length())
                         : 0;
  const std::size_t labels = context_.classes > 0 ? rows : 0;
  const std::size_t tokens_at = round_up(pixels);
  const std::size_t labels_at = tokens_at + round_up(ids * sizeof(std::int32_t));
  const std::size_t bytes = labels_at + labels * sizeof(std::int64_t);
  slot.memory = context_.allocate ? context_.allocate(bytes) : plain_memory(bytes);
  auto* base = static_cast<std::uint8_t*>(slot.memory.get());
  slot.batch.rows = rows_;
  slot.batch.views = options_.train_transform.views;
  slot.batch.pixels_BHWC = {base, pixels};
  slot.batch.tokens_BL = {reinterpret_cast<std::int32_t*>(base + tokens_at), ids};
  slot.batch.labels_B = {reinterpret_cast<std::int64_t*>(base + labels_at), labels};
  slot.batch.row.resize(rows);
  slot.place.resize(rows);
  slot.ref.resize(rows);
  slot.outcome.resize(rows);
}

Slot& Pipeline::next() {
  std::unique_lock lock(mutex_);
  Slot& slot = *slots_[static_cast<std::size_t>(next_step_ % std::ssize(slots_))];
  require(slot.state != Slot::State::lent, "next() before release(): every batch is lent");
  changed_.wait(lock, [&] {
    return slot.state == Slot::State::ready || (plan_error_ && plan_failed_at_ <= next_step_);
  });
  if (slot.state != Slot::State::ready) std::rethrow_exception(plan_error_);
  if (slot.error) std::rethrow_exception(slot.error);
  slot.state = Slot::State::lent;
  ++next_step_;
  return slot;
}

void Pipeline::release(const Batch* batch) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& slot : slots_) {
      if (&slot->batch != batch) continue;
      require(slot->state == Slot::State::lent, "release() of a batch that is not lent");
      slot->state = Slot::State::free;
    }
  }
  changed_.notify_all();
}

void Pipeline::fail_from(std::int64_t step, std::exception_ptr error) {
  {
    const std::lock_guard lock(mutex_);
    plan_failed_at_ = step;
    plan_error_ = std::move(error);
  }
  changed_.notify_all();
}

void Pipeline::plan_batches(std::int64_t first_step, std::uint64_t first_row) {
  std::int64_t step = first_step;
  try {
    const int lanes = plan_.lanes() / context_.world;
    std::vector<LaneState> states;
    for (int i = 0; i < lanes; ++i) {
      const int lane = context_.rank * lanes + i;
      states.push_back(
          {LaneCursor(plan_, lane, first_row), std::vector<LaneState::Known>(sources_.size())});
    }
    for (std::uint64_t row = first_row;; ++step) {
      Slot& slot = *slots_[static_cast<std::size_t>(step % std::ssize(slots_))];
      plan_note_.doing(Doing::input);
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopped_ || slot.state == Slot::State::free; });
        if (stopped_) return;
        slot.state = Slot::State::filling;
      }
      plan_note_.doing(Doing::working);
      plan_batch(slot, step, states, row);
      send_chunks(slot);
      row += static_cast<std::uint64_t>(plan_.rows_per_lane());
    }
  } catch (...) {
    fail_from(step, std::current_exception());
  }
}

void Pipeline::plan_batch(Slot& slot, std::int64_t step, std::vector<LaneState>& lanes,
                          std::uint64_t first_row) {
  slot.batch.step = step;
  slot.error = nullptr;
  slot.missing = rows_;
  const auto per_lane = static_cast<std::uint64_t>(plan_.rows_per_lane());
  const auto all = static_cast<std::uint64_t>(plan_.lanes());
  const std::uint64_t first_lane =
      static_cast<std::uint64_t>(context_.rank) * all / static_cast<std::uint64_t>(context_.world);
  std::size_t row = 0;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    for (std::uint64_t p = first_row; p < first_row + per_lane; ++p) {
      plan_row(slot, row++, lanes[i], p * all + first_lane + i);
    }
  }
}

void Pipeline::plan_row(Slot& slot, std::size_t row, LaneState& lane, std::uint64_t g) {
  const Place place = lane.cursor.next();
  const auto s = static_cast<std::size_t>(place.source);
  LaneState::Known& known = lane.known[s];
  if (known.turn != place.turn) {
    known.refs.clear();
    plan_note_.sample(place.source, slot.ref[row]);
    sources_[s]->find(place.vshard.first, place.vshard.size, known.refs);
    known.turn = place.turn;
  }
  slot.place[row] = place;
  slot.ref[row] = known.refs[place.ordinal - place.vshard.first];
  slot.outcome[row].refused.clear();
  slot.outcome[row].truncated = false;
  Row& out = slot.batch.row[row];
  out.position = g;
  out.source = place.source;
  out.substitute = false;
}

Pipeline::ChunkPtr Pipeline::spare_chunk() {
  const std::lock_guard lock(mutex_);
  if (spare_.empty()) return std::make_unique<Chunk>();
  ChunkPtr chunk = std::move(spare_.back());
  spare_.pop_back();
  return chunk;
}

void Pipeline::send_chunks(Slot& slot) {
  for (std::int64_t begin = 0; begin < rows_;) {
    ChunkPtr chunk = spare_chunk();
    chunk->slot = &slot;
    chunk->begin = begin;
    chunk->offset.assign(1, 0);
    // A chunk of large samples is cut short, so that it never needs more than the whole stock.
    std::int64_t end = begin;
    while (end < rows_ && end - begin < chunk_rows_) {
      const std::size_t after =
          chunk->offset.back() + slot.ref[static_cast<std::size_t>(end)].record.bytes;
      if (end > begin && after > read_credit_.total() / 4) break;
      chunk->offset.push_back(after);
      ++end;
    }
    chunk->end = begin = end;
    if (chunk->offset.back() > read_credit_.total()) refuse_to_read(*chunk);
    plan_note_.doing(Doing::memory);
    chunk->credit = read_credit_.take(chunk->offset.back());
    plan_note_.doing(Doing::output);
    to_read_.push(std::move(chunk));
    plan_note_.doing(Doing::working);
    if (stopped_) return;
  }
}

/// A single sample that the bound has no room for. Passing over it would let memory decide what a
/// run sees.
void Pipeline::refuse_to_read(const Chunk& chunk) const {
  const auto row = static_cast<std::size_t>(chunk.begin);
  const Source& source = *sources_[static_cast<std::size_t>(chunk.slot->place[row].source)];
  const SampleRef& ref = chunk.slot->ref[row];
  throw DataError(str("source ", source.name(), ": shard ", source.shard(ref), " at byte ",
                      ref.record.offset, ": a sample of ", ref.record.bytes,
                      " bytes, but data.memory_mb ", options_.memory_mb, " leaves ",
                      read_credit_.total(), " for reading; a larger one admits it"));
}

void Pipeline::read_chunks(ThreadNote& note) {
  while (std::optional<ChunkPtr> chunk = to_read_.pop()) {
    note.doing(Doing::working);
    try {
      read_chunk(**chunk, note);
    } catch (...) {
      finish(**chunk, std::current_exception());
      note.doing(Doing::input);
      continue;
    }
    note.doing(Doing::output);
    to_build_.push(*std::move(chunk));
    note.doing(Doing::input);
  }
}

void Pipeline::read_chunk(Chunk& chunk, ThreadNote& note) {
  chunk.bytes.resize(chunk.offset.back());
  chunk.unread.assign(static_cast<std::size_t>(chunk.end - chunk.begin), std::string());
  for (std::int64_t row = chunk.begin; row < chunk.end; ++row) {
    if (stopped_) return;
    const auto i = static_cast<std::size_t>(row - chunk.begin);
    const SampleRef& ref = chunk.slot->ref[static_cast<std::size_t>(row)];
    const Place& place = chunk.slot->place[static_cast<std::size_t>(row)];
    const auto source = static_cast<std::size_t>(place.source);
    note.sample(place.source, ref);
    const std::int64_t start = ThreadNote::now_ns();
    try {
      sources_[source]->read(
          ref, {chunk.bytes.data() + chunk.offset[i], chunk.offset[i + 1] - chunk.offset[i]});
    } catch (const UnreadableShard& error) {
      chunk.unread[i] = error.what();
    }
    source_read_ns_[source] += ThreadNote::now_ns() - start;
  }
}

void Pipeline::build_chunks(ThreadNote& note) {
  RowBuilder builder(options_, context_, large_images_, note);
  std::vector<std::uint8_t> scratch;
  while (std::optional<ChunkPtr> chunk = to_build_.pop()) {
    note.doing(Doing::working);
    std::exception_ptr error;
    try {
      build_chunk(**chunk, builder, scratch, note);
    } catch (...) {
      error = std::current_exception();
    }
    note.doing(Doing::input);
    finish(**chunk, error);
    if ((*chunk)->bytes.capacity() > spare_bytes_) (*chunk)->bytes = {};
    const std::lock_guard lock(mutex_);
    spare_.push_back(*std::move(chunk));
  }
}

/// The rows of a chunk are done, well or not.
void Pipeline::finish(Chunk& chunk, std::exception_ptr error) {
  read_credit_.give_back(chunk.credit);
  {
    const std::lock_guard lock(mutex_);
    if (error && !chunk.slot->error) chunk.slot->error = std::move(error);
    chunk.slot->missing -= chunk.end - chunk.begin;
    if (chunk.slot->missing != 0) return;
    chunk.slot->state = Slot::State::ready;
  }
  changed_.notify_all();
}

}  // namespace plumbline
