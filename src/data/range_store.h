// Pieces of remote shards that are in use: blocks fetched by range into one unnamed temporary file,
// the least recently used ones overwritten first.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/byte_source.h"
#include "data/remote_shard.h"

namespace plumbline {

/// Remote bytes are fetched and checked in blocks of this size.
inline constexpr std::uint64_t kRemoteBlock = 4 << 20;

/// SipHash-2-4 of each block of `bytes`.
[[nodiscard]] std::vector<std::uint64_t> block_hashes(const ByteSource& bytes);

/// What the index knows of a remote shard: enough to see that it changed.
struct RemoteStamp {
  std::uint64_t bytes = 0;
  std::vector<std::uint64_t> hashes;  ///< of its blocks
};

/// Throws DataError naming shard and byte unless `bytes` are those of `stamp`.
void check_stamp(const ByteSource& bytes, const RemoteStamp& stamp);

/// Safe for many threads; two that want one block wait for one fetch.
class RangeStore {
 public:
  /// At most `bytes` of disk in `spool_dir` (empty: the system's), at least 64 blocks.
  RangeStore(const std::string& spool_dir, std::uint64_t bytes);
  /// Reads out of one block, fetching and checking it first if it is not there.
  void read(const RemoteShard& shard, const RemoteStamp& stamp, std::uint64_t block,
            std::uint64_t offset, std::span<std::uint8_t> out, const std::stop_token& stop);

 private:
  struct Slot {
    std::string key;
    bool ready = false;
    int users = 0;
  };
  using Place = std::list<std::size_t>::iterator;

  [[nodiscard]] std::size_t claim(const std::string& key, bool& mine);
  void fill(std::size_t slot, const RemoteShard& shard, const RemoteStamp& stamp,
            std::uint64_t block, const std::stop_token& stop);
  void leave(std::size_t slot);

  FileDescriptor file_;
  std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Slot> slots_;
  std::vector<Place> places_;    ///< of each slot in ages_
  std::list<std::size_t> ages_;  ///< newest first
  std::unordered_map<std::string, std::size_t> by_key_;
};

/// A seekable remote shard as random-access bytes.
class RangeBytes final : public ByteSource {
 public:
  RangeBytes(RemoteShard shard, RemoteStamp stamp, std::shared_ptr<RangeStore> store,
             std::stop_token stop)
      : shard_(std::move(shard)),
        stamp_(std::move(stamp)),
        store_(std::move(store)),
        stop_(std::move(stop)) {}
  [[nodiscard]] std::uint64_t size() const override { return stamp_.bytes; }
  [[nodiscard]] std::size_t read_at(std::uint64_t offset,
                                    std::span<std::uint8_t> out) const override;
  [[nodiscard]] const std::string& name() const override { return shard_.name; }

 private:
  RemoteShard shard_;
  RemoteStamp stamp_;
  std::shared_ptr<RangeStore> store_;
  std::stop_token stop_;
};

}  // namespace plumbline
