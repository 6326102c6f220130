// Shards read in list order for evaluation: nothing shuffled, repeated or replaced.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/shard_files.h"
#include "data/shard_index.h"

namespace plumbline {

struct EvalItem {
  std::string key;
  std::vector<std::uint8_t> image;  ///< encoded
  std::int64_t label = -1;          ///< of the label member; -1: there is none
  std::string text;                 ///< of the text member, as it is; empty: there is none
};

struct EvalShardOptions {
  std::string name;                 ///< of the set, for messages
  std::vector<std::string> shards;  ///< patterns as in a run file
  std::vector<std::string> image_keys = {"jpg", "png", "jpeg", "webp"};
  std::string label_key = "cls";  ///< decimal text
  std::string text_key = "txt";
  std::string spool_dir;  ///< for compressed shards; empty: the system's
};

/// Random access to all samples with an image. Writes nothing; read() may be called by many
/// threads.
class EvalShards {
 public:
  /// Scans the headers of all shards on `threads` threads. Throws UsageError for missing shards,
  /// DataError for a damaged one: a part of a set must not pass for the whole.
  EvalShards(const EvalShardOptions& options, int threads);
  [[nodiscard]] std::int64_t size() const { return first_.back(); }
  /// Samples passed over because they have no image.
  [[nodiscard]] std::int64_t skipped() const { return skipped_; }
  /// Throws DataError naming shard, byte and key for a label that is no number.
  [[nodiscard]] EvalItem read(std::int64_t i) const;

 private:
  EvalShardOptions options_;
  std::vector<IndexedShard> shards_;
  std::vector<std::int64_t> first_;
  std::int64_t skipped_ = 0;
  ShardFiles files_;
};

/// The samples [first, second) of `total` that `rank` of `world` evaluates.
[[nodiscard]] std::pair<std::int64_t, std::int64_t> eval_slice(std::int64_t total, int rank,
                                                               int world);

}  // namespace plumbline
