// The threads of a loader and its ring of batches:
//   plan (1)   order to rows, looks samples up, on a stock of bytes granted in row order
//   read (2+)  bytes of a chunk of rows
//   build (N)  chunk to pixels and tokens; replaces bad samples
// All threads fill one batch; batches become ready in step order.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/queue.h"
#include "data/error_log.h"
#include "data/order_plan.h"
#include "data/row_builder.h"
#include "data/source.h"
#include "data/thread_note.h"
#include "plumbline/data.h"

namespace plumbline {

/// What became of a row.
struct RowOutcome {
  std::vector<Refusal> refused;
  std::int64_t bytes = 0;  ///< of the sample that stands there
  bool truncated = false;  ///< its caption
};

/// One batch of the ring.
struct Slot {
  Batch batch;
  std::shared_ptr<void> memory;
  std::vector<Place> place;
  std::vector<SampleRef> ref;
  std::vector<RowOutcome> outcome;
  std::atomic<std::int64_t> missing = 0;  ///< rows not yet done
  std::exception_ptr error;
  enum class State { free, filling, ready, lent } state = State::free;
};

/// How the memory bound is divided.
struct PipelineSizes {
  int slots = 3;
  int build_threads = 1;
  int read_threads = 2;
  std::size_t read_bytes = 0;   ///< encoded bytes: one half in flight, one in spare buffers
  std::size_t large_bytes = 0;  ///< scratch of large images
};

class Pipeline {
 public:
  /// Starts the threads at lane row `first_row`; the first batch has number `first_step`. All
  /// references outlive the pipeline.
  Pipeline(const DataOptions& options, const LoaderContext& context, const PipelineSizes& sizes,
           const OrderPlan& plan, const std::vector<std::unique_ptr<Source>>& sources,
           std::int64_t first_step, std::uint64_t first_row);
  /// Stops and joins: at most the work on one image a thread is waited for.
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  /// The next slot in step order; rethrows what its threads threw.
  [[nodiscard]] Slot& next();
  void release(const Batch* batch);
  /// Stage times and their parts, and the reading time of each source.
  void add_times(LoaderStats& stats) const;
  /// What Loader::activity() says.
  [[nodiscard]] std::string activity() const;

 private:
  struct Chunk {
    Slot* slot = nullptr;
    std::int64_t begin = 0, end = 0;
    std::size_t credit = 0;
    std::vector<std::uint8_t> bytes;
    std::vector<std::size_t> offset;  ///< of each row's bytes, and the end
    std::vector<std::string> unread;  ///< why a row's shard was given up; empty: it was read
  };
  using ChunkPtr = std::unique_ptr<Chunk>;
  struct LaneState;

  void allocate(Slot& slot) const;
  void plan_batches(std::int64_t first_step, std::uint64_t first_row);
  void plan_batch(Slot& slot, std::int64_t step, std::vector<LaneState>& lanes,
                  std::uint64_t first_row);
  void plan_row(Slot& slot, std::size_t row, LaneState& lane, std::uint64_t g);
  void send_chunks(Slot& slot);
  [[noreturn]] void refuse_to_read(const Chunk& chunk) const;
  void read_chunks(ThreadNote& note);
  void read_chunk(Chunk& chunk, ThreadNote& note);
  void build_chunks(ThreadNote& note);
  void build_chunk(Chunk& chunk, RowBuilder& builder, std::vector<std::uint8_t>& scratch,
                   ThreadNote& note) const;
  void build_row(Slot& slot, std::size_t row, std::span<const std::uint8_t> bytes,
                 RowBuilder& builder, std::vector<std::uint8_t>& scratch) const;
  void replace_unread(Slot& slot, std::size_t row, const std::string& why, RowBuilder& builder,
                      std::vector<std::uint8_t>& scratch) const;
  void substitute(Slot& slot, std::size_t row, const Place& place, RowBuilder& builder,
                  std::vector<std::uint8_t>& scratch) const;
  [[nodiscard]] bool try_other(Slot& slot, std::size_t row, std::uint64_t ordinal,
                               RowBuilder& builder, std::vector<std::uint8_t>& scratch,
                               bool& unread) const;
  void refuse_unread(Slot& slot, std::size_t row, const SampleRef& ref,
                     const std::string& why) const;
  [[nodiscard]] bool try_sample(Slot& slot, std::size_t row, const SampleRef& ref,
                                std::span<const std::uint8_t> bytes, RowBuilder& builder) const;
  [[nodiscard]] RowTarget target(const Slot& slot, std::size_t row) const;
  void finish(Chunk& chunk, std::exception_ptr error);
  [[nodiscard]] ChunkPtr spare_chunk();
  void fail_from(std::int64_t step, std::exception_ptr error);

  const DataOptions& options_;
  const LoaderContext& context_;
  const OrderPlan& plan_;
  const std::vector<std::unique_ptr<Source>>& sources_;
  std::int64_t rows_ = 0;  ///< of this rank in a batch
  std::int64_t chunk_rows_ = 1;

  std::mutex mutex_;  ///< guards slot states, errors, spare chunks
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<ChunkPtr> spare_;
  std::int64_t next_step_;
  std::int64_t plan_failed_at_ = -1;
  std::exception_ptr plan_error_;
  std::atomic<bool> stopped_ = false;

  Queue<ChunkPtr> to_read_;
  Queue<ChunkPtr> to_build_;
  std::size_t spare_bytes_;  ///< a spare chunk keeps at most so much
  Credit read_credit_;
  Credit large_images_;
  ThreadNote plan_note_;
  std::vector<ThreadNote> read_notes_, build_notes_;
  std::vector<std::atomic<std::int64_t>> source_read_ns_;
  std::vector<std::thread> threads_;
};

}  // namespace plumbline
