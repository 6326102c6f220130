// Remote shards kept on a disk of the host, shared by its processes and by later runs.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "data/byte_source.h"

namespace plumbline {

/// A folder of whole shards under names made from their commands. One process fetches a shard while
/// the others wait for it (file locks, which the system frees when their owner dies). Above the
/// limit the least recently opened shards are deleted; only files that the cache's own journal
/// names are ever deleted.
class ShardCache {
 public:
  /// Throws UsageError when the folder cannot be made or `bytes` is not positive.
  ShardCache(std::string folder, std::uint64_t bytes);

  /// The cached copy of `shard`. When there is none, `fetch` writes it to the given descriptor and
  /// throws when it cannot; nothing is kept then.
  [[nodiscard]] FileDescriptor open(const std::string& shard,
                                    const std::function<void(int fd)>& fetch,
                                    const std::stop_token& stop) const;

 private:
  [[nodiscard]] FileDescriptor open_present(const std::string& path) const;
  void add_to_journal(const std::string& name, const std::stop_token& stop) const;

  std::string folder_;
  std::uint64_t bytes_;
};

}  // namespace plumbline
