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

/// Which class a sample belongs to.
struct LabelOptions {
  std::string key;    ///< member suffix (decimal text or a name), or json:FIELD; empty: unlabelled
  std::string names;  ///< file: line i = name of class i; empty: labels are numbers
};

/// Columns of a manifest source.
struct ManifestColumns {
  std::string image = "filepath";
  std::string key;                    ///< empty: the image path is the key
  std::vector<std::string> captions;  ///< empty: captions.keys are columns
  std::vector<std::string> header;    ///< names of a table without a header line
  bool raw = false;                   ///< quotes are ordinary characters
};

struct SourceOptions {
  std::string name;
  std::vector<std::string> shards;  ///< braces, globs and @FILE not yet expanded
  double weight = 1.0;
  CaptionOptions captions;
  LabelOptions label;
  std::vector<std::string> image_keys = {"jpg", "png", "jpeg", "webp"};
  std::string missing = "error";  ///< error | skip: a shard that is not there
  std::string manifest;           ///< instead of shards: a CSV, TSV or JSONL of image files
  std::string root;               ///< folder that its paths are relative to and stay inside
  ManifestColumns columns;
  std::string synthetic = "";  ///< "" | pixels | jpeg
  std::int64_t synthetic_samples = 0;
  int synthetic_classes = 16, synthetic_size = 512, synthetic_quality = 90;
};

/// How `pipe:` commands are read.
struct PipeOptions {
  double timeout_s = 60;  ///< no byte for so long: killed and tried again
  int tries = 8;          ///< without progress
  double wait_s = 1;      ///< before the second try; doubles up to 60 s
};

/// Remote shards kept on this host's disk.
struct CacheOptions {
  std::string dir;  ///< empty: no cache
  double gb = 0;    ///< 1e9 bytes; the least recently opened shards go
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
  PipeOptions pipe;
  CacheOptions cache;
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
  std::string fingerprint;  ///< of data, order and caption settings; empty: not known, not checked
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
  std::span<std::int32_t> tokens_BL;  ///< [rows, context_length]; empty: none wanted
  std::span<std::int64_t> labels_B;   ///< [rows]; empty: none wanted
  std::vector<Row> row;
};

struct SourceCounts {
  std::string name;
  std::int64_t delivered = 0;
  std::int64_t bytes = 0;
  std::int64_t substitutes = 0;
  double read_s = 0;         ///< reading its bytes, summed over threads
  std::int64_t retries = 0;  ///< commands of remote shards started again
  std::array<std::int64_t, kBadSampleClasses> bad = {};  ///< met while reading
  /// Known from the index and never planned, over the whole source (the same on every rank);
  /// damaged shards count once under their verdict.
  std::array<std::int64_t, kBadSampleClasses> excluded = {};
};

/// What the threads of one stage did, seconds summed over them.
struct StageTimes {
  int threads = 0;
  double busy_s = 0;
  double input_s = 0;   ///< waited for the stage before; `plan` for a batch that is given back
  double output_s = 0;  ///< waited for the stage behind
  double memory_s = 0;  ///< waited for bytes of data.memory_mb
};

/// Since the start of this process, this rank.
struct LoaderStats {
  std::vector<SourceCounts> sources;
  double elapsed_s = 0;
  StageTimes plan, read, build;
  double text_s = 0, decode_s = 0, resize_s = 0;  ///< parts of build.busy_s
  double consumer_wait_s = 0;                     ///< next() waited for a batch
  int threads = 0;
  std::int64_t truncated_captions = 0;
  [[nodiscard]] std::int64_t bad_samples() const;
};

/// One sentence that says what limited a run: "bound by: image decoding on this host, 94 % busy;
/// the trainer waited 31 % of the time; 12 more cores would feed it". `trainer_s` is the time that
/// steps took, waiting included.
[[nodiscard]] std::string loader_verdict(const LoaderStats& stats, double trainer_s);

/// The numbers of `stats` as a JSON object.
[[nodiscard]] std::string loader_report(const LoaderStats& stats);

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
  std::int64_t classes = 0;                      ///< > 0: labels in [0, classes) are wanted
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
  /// What its threads are doing at this moment, the longest at work first: what a stall is made of.
  /// Any thread may ask.
  [[nodiscard]] std::string activity() const;
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
