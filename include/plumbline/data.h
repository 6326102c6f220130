// Shards to batches. The global batch of step k is a pure function of (seed, data, k): threads,
// ranks and restarts never enter it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plumbline/bad_sample.h"
#include "plumbline/image.h"
#include "plumbline/tokenizer.h"

namespace plumbline {

/// Which text of a sample is its caption.
struct CaptionOptions {
  std::vector<std::string> keys = {"txt"};  ///< member suffix, or json:FIELD (or json:/pointer)
  std::vector<double> probs;                ///< empty: the first non-empty value wins
  bool join = false;
  std::string lines = "whole";     ///< whole | first | sample
  std::vector<std::string> clean;  ///< url_decode | strip_html | strip_urls | collapse_space
  bool none = false;               ///< `captions: none`
};

struct SourceOptions {
  std::string name;
  std::vector<std::string> shards;  ///< braces, globs and @FILE not yet expanded
  double weight = 1.0;
  CaptionOptions captions;
  std::vector<std::string> image_keys = {"jpg", "png", "jpeg", "webp"};
  std::string missing = "error";  ///< error | skip: a shard that is not there
  std::string synthetic = "";     ///< "" | pixels | jpeg
  std::int64_t synthetic_samples = 0;
  int synthetic_classes = 16, synthetic_size = 512, synthetic_quality = 90;
};

struct ErrorBudget {
  double max_rate = 0.01;
  std::int64_t max_consecutive = 100;
};

/// The `data:` section of a run file.
struct DataOptions {
  std::vector<SourceOptions> sources;
  std::string sampling = "permute";    ///< permute | replace
  std::string weights = "proportion";  ///< proportion | factor | repeat
  bool allow_repeats = false;
  TrainTransformOptions train_transform;
  int threads = 0;  ///< 0 = auto
  std::int64_t memory_mb = 4096;
  bool allow_pipe = false;
  ErrorBudget errors;
  int lanes = 0;  ///< 0 = largest divisor of the global batch <= 512
  int vshard = 256;
  std::string index_dir;  ///< empty: beside the shards
  DecodeLimits limits;
  ResizeOrder resize_order = ResizeOrder::pillow13;
};

/// About 200 bytes, the same on every rank: all that resuming the data needs.
struct LoaderState {
  std::int64_t position = 0;  ///< samples consumed, globally
  std::int64_t epoch = 0;
  std::string fingerprint;  ///< of data, order and caption settings
  std::uint64_t seed = 0;
  int lanes = 0;
};

/// What stands in one row of a batch.
struct Row {
  std::uint64_t position = 0;  ///< g of data order
  int source = 0;
  std::string key;
  bool substitute = false;  ///< the planned sample was bad
};

/// This rank's rows of one global batch. Memory belongs to the loader until release().
struct Batch {
  std::int64_t step = 0;
  std::int64_t rows = 0;
  int views = 1;
  std::span<std::uint8_t>
      pixels_BHWC;                    ///< [rows * views, height, width, 3], a row's views adjacent
  std::span<std::int32_t> tokens_BL;  ///< [rows, context_length]
  std::vector<Row> row;
};

struct SourceCounts {
  std::string name;
  std::int64_t delivered = 0;
  std::int64_t bytes = 0;
  std::int64_t substitutes = 0;
  std::array<std::int64_t, kBadSampleClasses> bad = {};  ///< met while reading
  /// Known from the index and never planned, over the whole source (the same on every rank);
  /// damaged shards count once under their verdict.
  std::array<std::int64_t, kBadSampleClasses> excluded = {};
};

/// Since the start of this process, this rank.
struct LoaderStats {
  std::vector<SourceCounts> sources;
  double decode_busy_s = 0;  ///< summed over threads
  double io_busy_s = 0;
  double consumer_wait_s = 0;  ///< next() waited for a batch
  int threads = 0;
  std::int64_t truncated_captions = 0;
  [[nodiscard]] std::int64_t bad_samples() const;
};

/// Memory for batches: pinned when a GPU copies from it. Takes bytes, returns memory and its
/// release.
using BatchAllocator = std::function<std::shared_ptr<void>(std::size_t bytes)>;

/// What the order of a run depends on besides DataOptions.
struct LoaderContext {
  std::uint64_t seed = 0;
  std::int64_t global_batch = 0;
  int rank = 0;
  int world = 1;
  int local_world = 1;  ///< ranks of this host, which share its cores
  PreprocessOptions preprocess;
  const Tokenizer* tokenizer = nullptr;          ///< null: no tokens (data order, image-only runs)
  std::string quarantine_path;                   ///< empty: no file
  BatchAllocator allocate;                       ///< empty: plain aligned memory
  std::function<void(const std::string&)> warn;  ///< empty: silent
};

/// Threads and a ring of batches. next() and release() belong to one consumer thread. Destruction
/// joins every thread, also in mid-batch, within two seconds.
class Loader {
 public:
  /// Opens shards, builds or reads their indexes, plans the order, starts the threads. With `from`
  /// goes on at that position. Throws UsageError for options that cannot work (missing shards,
  /// batch not divisible), DataError for data that changed since `from` or is wholly bad.
  Loader(const DataOptions& options, const LoaderContext& context,
         const std::optional<LoaderState>& from = std::nullopt);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next batch in step order; blocks. Throws DataError when the error budget is spent.
  [[nodiscard]] const Batch* next();
  /// Gives the batch's memory back.
  void release(const Batch* batch);
  /// The state after every batch that next() has returned.
  [[nodiscard]] LoaderState state() const;
  [[nodiscard]] LoaderStats stats() const;
  /// Rows of an epoch over all sources.
  [[nodiscard]] std::int64_t epoch_samples() const;
  /// Upper bound of this loader's memory, bytes.
  [[nodiscard]] std::int64_t memory_bound() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The keys of the global batches [first_step, first_step + steps) in row order, without decoding
/// an image: exactly what `train` uses (substitutes excepted).
void print_order(const DataOptions& options, const LoaderContext& context, std::int64_t first_step,
                 std::int64_t steps,
                 const std::function<void(std::int64_t step, const std::vector<Row>&)>& visit);

}  // namespace plumbline
