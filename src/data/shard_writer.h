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

/// Calls write_sample(i, sink) for sample i, in order within a shard, on several threads. A shard
/// is written to a temporary name, synced, renamed. A second call with the same provenance keeps
/// the finished shards; a folder of another provenance is a UsageError and stays as it is. The same
/// arguments give the same bytes.
[[nodiscard]] ShardFolderReport write_shard_folder(
    const ShardFolder& folder,
    const std::function<void(std::int64_t i, const std::function<void(std::string_view)>& sink)>&
        write_sample,
    const Progress& progress);

}  // namespace plumbline
