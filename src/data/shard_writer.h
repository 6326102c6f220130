// A folder of shards written in parallel: shard_%06d.tar with index, sizes.json, provenance.json.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace plumbline {

using Progress = std::function<void(std::int64_t done, std::int64_t total)>;

struct ShardFolder {
  std::string out;
  std::int64_t samples = 0;
  std::int64_t samples_per_shard = 1000;
  int threads = 0;         ///< 0: all of this process
  std::string provenance;  ///< JSON object: what the bytes of the shards depend on
};

struct ShardFolderReport {
  std::int64_t shards = 0;
  std::int64_t kept = 0;   ///< of them, finished by an earlier call
  std::int64_t bytes = 0;  ///< of all shards
};

/// Shards with names of their own.
struct NamedShards {
  std::string out;
  std::vector<std::string> names;  ///< distinct file names
  int threads = 0;                 ///< 0: all of this process
  std::string provenance;          ///< JSON object: what the bytes of the shards depend on
};

struct NamedShardsReport {
  std::int64_t kept = 0;              ///< finished by an earlier call
  std::int64_t bytes = 0;             ///< of all shards
  std::vector<std::int64_t> samples;  ///< of each
};

/// Calls write_shard(i, sink) for shard i on several threads; it returns the samples that it wrote,
/// without the end blocks. A shard is written to a temporary name, synced, renamed, and indexed; an
/// exception, also one of `progress`, removes what is half done. A second call with the same
/// provenance keeps the finished shards; a folder of another provenance is a UsageError and stays
/// as it is. Also writes sizes.json and provenance.json.
[[nodiscard]] NamedShardsReport write_named_shards(
    const NamedShards& shards,
    const std::function<std::int64_t(
        std::int64_t i, const std::function<void(std::string_view)>& sink)>& write_shard,
    const Progress& progress);

/// The same for shard_%06d.tar of equal size: calls write_sample(i, sink) for sample i, in order
/// within a shard. Progress counts samples. The same arguments give the same bytes.
[[nodiscard]] ShardFolderReport write_shard_folder(
    const ShardFolder& folder,
    const std::function<void(std::int64_t i, const std::function<void(std::string_view)>& sink)>&
        write_sample,
    const Progress& progress);

}  // namespace plumbline
