// The build stage of a pipeline: samples to rows, and what stands in the row of one that cannot be.
#include <algorithm>

#include "core/philox.h"
#include "data/pipeline.h"
#include "data/remote_shard.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::uint64_t kDrawnSubstitutes = 8;
constexpr std::uint64_t kLeastCandidates = 256;  // looked at before a run is given up
constexpr std::uint64_t kOtherVshards = 64;      // tried in place of an unreadable one

}  // namespace

RowTarget Pipeline::target(const Slot& slot, std::size_t row) const {
  const std::size_t pixels = slot.batch.pixels_BHWC.size() / static_cast<std::size_t>(rows_);
  const std::size_t ids = slot.batch.tokens_BL.size() / static_cast<std::size_t>(rows_);
  return {slot.batch.pixels_BHWC.subspan(row * pixels, pixels),
          slot.batch.tokens_BL.subspan(row * ids, ids),
          slot.batch.labels_B.empty() ? nullptr : &slot.batch.labels_B[row]};
}

bool Pipeline::try_sample(Slot& slot, std::size_t row, const SampleRef& ref,
                          std::span<const std::uint8_t> bytes, RowBuilder& builder) const {
  const int source = slot.place[row].source;
  const Source& from = *sources_[static_cast<std::size_t>(source)];
  Row& out = slot.batch.row[row];
  std::optional<BadSample> bad = builder.build(from, ref, bytes, out.position, target(slot, row));
  RowOutcome& outcome = slot.outcome[row];
  if (bad) {
    outcome.refused.push_back(
        {source, from.shard(ref), ref.record.offset, builder.key(), *std::move(bad)});
    return false;
  }
  out.key = builder.key();
  outcome.bytes = static_cast<std::int64_t>(bytes.size());
  outcome.truncated = builder.truncated();
  return true;
}

void Pipeline::build_chunk(Chunk& chunk, RowBuilder& builder, std::vector<std::uint8_t>& scratch,
                           ThreadNote& note) const {
  for (std::int64_t r = chunk.begin; r < chunk.end; ++r) {
    if (stopped_) return;
    const auto row = static_cast<std::size_t>(r);
    const auto i = static_cast<std::size_t>(r - chunk.begin);
    note.sample(chunk.slot->place[row].source, chunk.slot->ref[row]);
    const std::span<const std::uint8_t> bytes(chunk.bytes.data() + chunk.offset[i],
                                              chunk.offset[i + 1] - chunk.offset[i]);
    if (chunk.unread[i].empty()) {
      build_row(*chunk.slot, row, bytes, builder, scratch);
    } else {
      replace_unread(*chunk.slot, row, chunk.unread[i], builder, scratch);
    }
  }
}

void Pipeline::build_row(Slot& slot, std::size_t row, std::span<const std::uint8_t> bytes,
                         RowBuilder& builder, std::vector<std::uint8_t>& scratch) const {
  if (try_sample(slot, row, slot.ref[row], bytes, builder)) return;
  substitute(slot, row, slot.place[row], builder, scratch);
}

void Pipeline::refuse_unread(Slot& slot, std::size_t row, const SampleRef& ref,
                             const std::string& why) const {
  const int source = slot.place[row].source;
  slot.outcome[row].refused.push_back({source,
                                       sources_[static_cast<std::size_t>(source)]->shard(ref),
                                       ref.record.offset,
                                       "",
                                       {BadSampleClass::io, why}});
}

/// A row whose shard was given up: the same row of another virtual shard.
void Pipeline::replace_unread(Slot& slot, std::size_t row, const std::string& why,
                              RowBuilder& builder, std::vector<std::uint8_t>& scratch) const {
  slot.batch.row[row].substitute = true;
  refuse_unread(slot, row, slot.ref[row], why);
  const auto lane =
      static_cast<int>(slot.batch.row[row].position % static_cast<std::uint64_t>(plan_.lanes()));
  for (std::uint64_t attempt = 0; attempt < kOtherVshards; ++attempt) {
    if (stopped_) return;
    const Place other = plan_.instead_of(slot.place[row], lane, attempt);
    bool unread = false;
    if (try_other(slot, row, other.ordinal, builder, scratch, unread)) return;
    if (!unread) return substitute(slot, row, other, builder, scratch);
  }
  throw DataError(str("source ", sources_[static_cast<std::size_t>(slot.place[row].source)]->name(),
                      ": no shard can be read: ", why));
}

/// Whether the sample `ordinal` (of at most 6 MiB) fills the row; `unread`: because its shard was
/// given up.
bool Pipeline::try_other(Slot& slot, std::size_t row, std::uint64_t ordinal, RowBuilder& builder,
                         std::vector<std::uint8_t>& scratch, bool& unread) const {
  const Source& source = *sources_[static_cast<std::size_t>(slot.place[row].source)];
  std::vector<SampleRef> candidate;
  source.find(ordinal, 1, candidate);
  // No larger, so that a substitute needs no bytes of the stock.
  if (candidate[0].record.bytes > kSmallImageBytes) return false;
  scratch.resize(candidate[0].record.bytes);
  try {
    source.read(candidate[0], scratch);
  } catch (const UnreadableShard& error) {
    refuse_unread(slot, row, candidate[0], error.what());
    unread = true;
    return false;
  }
  return try_sample(slot, row, candidate[0], scratch, builder);
}

/// Another sample for the row, a function of its position alone: first 8 drawn from the vshard,
/// then its samples in order, and those after it (a small source has vshards of one sample).
void Pipeline::substitute(Slot& slot, std::size_t row, const Place& place, RowBuilder& builder,
                          std::vector<std::uint8_t>& scratch) const {
  const Source& source = *sources_[static_cast<std::size_t>(place.source)];
  const std::uint64_t g = slot.batch.row[row].position;
  const std::uint64_t stream = derive(context_.seed, Purpose::substitute, g);
  const std::uint64_t in_order =
      std::min(source.size(), std::max(place.vshard.size, kLeastCandidates));
  slot.batch.row[row].substitute = true;
  for (std::uint64_t attempt = 0; attempt < kDrawnSubstitutes + in_order; ++attempt) {
    if (stopped_) return;
    std::uint64_t ordinal = (place.vshard.first + attempt - kDrawnSubstitutes) % source.size();
    if (attempt < kDrawnSubstitutes) {
      const std::uint64_t bits = derive(stream, Purpose::substitute, attempt);
      ordinal = place.vshard.first + scale_to(bits, place.vshard.size);
    }
    if (ordinal == place.ordinal) continue;
    bool unread = false;
    if (try_other(slot, row, ordinal, builder, scratch, unread)) return;
  }
  const Refusal& last = slot.outcome[row].refused.back();
  throw DataError(str("source ", source.name(), ": no usable sample among ", in_order,
                      " from ordinal ", place.vshard.first, " on; the last: ", last.shard,
                      " at byte ", last.offset, ", key ", last.key, ": ", name_of(last.bad.reason),
                      ": ", last.bad.message));
}

}  // namespace plumbline
