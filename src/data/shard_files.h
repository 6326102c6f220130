// Open shards, the most recently used ones: opening is dear on network file systems, and dearer
// still where a shard must be decompressed first.
#pragma once

#include <cstdint>
#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "data/byte_source.h"
#include "data/shard_index.h"

namespace plumbline {

class ShardFiles {
 public:
  /// Opens the shard unless it is open; several callers of one shard wait for one opening.
  /// Throws what opening throws.
  [[nodiscard]] std::shared_ptr<const ByteSource> get(std::uint32_t number,
                                                      const IndexedShard& shard) const;

 private:
  using Opened = std::shared_future<std::shared_ptr<const ByteSource>>;
  struct Entry {
    Opened file;
    std::list<std::uint32_t>::iterator age;
    std::uint64_t temporary_bytes = 0;
  };
  [[nodiscard]] std::shared_ptr<const ByteSource> open_or_wait(std::uint32_t number,
                                                               const IndexedShard& shard) const;
  void make_room() const;

  mutable std::mutex mutex_;
  mutable std::unordered_map<std::uint32_t, Entry> entries_;
  mutable std::list<std::uint32_t> ages_;  ///< newest first
  mutable std::uint64_t temporary_bytes_ = 0;
};

}  // namespace plumbline
