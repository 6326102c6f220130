// `data subset` and `data mix`: smaller sets by keyed hash, mixtures at a fixed total.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/shard_writer.h"
#include "plumbline/data.h"

namespace plumbline {

struct SubsetOptions {
  std::vector<SourceOptions> sources;  ///< one for a subset; several, by weight, for a mixture
  std::int64_t samples = 0;
  std::uint64_t seed = 0;
  /// What is hashed: key | shard+key | sha256 (of the image) | json:FIELD (of the json member).
  std::string identity = "key";
  std::vector<std::string> where;  ///< FIELD=VALUE of the json member; all must hold
  std::string out;
  std::string index_dir;
  bool allow_pipe = false;
  std::int64_t samples_per_shard = 1000;
  int threads = 0;
};

struct SubsetReport {
  std::vector<std::int64_t> taken;  ///< of each source
  std::int64_t excluded = 0;        ///< samples of the sources without image or caption
  ShardFolderReport written;
};

/// The n samples of a source with the smallest SipHash-2-4(identity) under (seed, 0), ties by shard
/// and ordinal: the set of a smaller n is inside that of a larger one, whatever the order of the
/// shards. n of several sources: weights times `samples`, by largest remainder. Members are copied
/// as they are, in the order of the hash. Throws UsageError when a source has too few samples, when
/// over 0.1% of its identities repeat, or when a sample has no field of that name.
[[nodiscard]] SubsetReport subset(const SubsetOptions& options, const Progress& progress = {});

}  // namespace plumbline
