// Shards that a command prints: `pipe:CMD`. Reading goes on where it was cut, and never mixes two
// versions of an object.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "plumbline/data.h"
#include "plumbline/error.h"

namespace plumbline {

[[nodiscard]] bool is_pipe(std::string_view shard);

/// A shard was given up after its tries: a run goes on without it.
class UnreadableShard : public DataError {
 public:
  using DataError::DataError;
};

/// Shards that were given up, so that the many readers of one do not all try it again. After ten
/// minutes it may be asked once more.
class GivenUp {
 public:
  /// Throws UnreadableShard when `shard` was given up lately.
  void check(const std::string& shard) const;
  void add(const std::string& shard, const std::string& why);

 private:
  struct Entry {
    std::chrono::steady_clock::time_point until;
    std::string why;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

/// What all remote reads of a source share.
struct RemoteCounters {
  std::atomic<std::int64_t> bytes = 0;
  std::atomic<std::int64_t> retries = 0;
  GivenUp given_up;
};

struct RemoteShard {
  std::string name;  ///< pipe:CMD, as listed
  PipeOptions options;
  std::shared_ptr<RemoteCounters> counters = std::make_shared<RemoteCounters>();

  /// Whether the command takes `{offset}`.
  [[nodiscard]] bool seekable() const;
  /// The command that prints bytes from `offset` on; `{end}` becomes the last byte wanted, or
  /// nothing for all the rest.
  [[nodiscard]] std::string command(std::uint64_t offset, std::optional<std::uint64_t> last) const;
};

/// Copies the object's bytes [first, first + length), or all of it, to file `fd` at byte `at`;
/// returns how many. A command that fails, is silent for `timeout_s` or ends early is started again
/// after a jittered wait that doubles from `wait_s` to 60 s, from where it was cut (without
/// {offset} from the beginning); bytes that come again are compared with those received. Throws
/// UnreadableShard with the last 4 KB of its standard error after `tries` failures without
/// progress, DataError when the object changed meanwhile. A whole object must begin like a tar,
/// gzip or zstd file; a tar without end blocks is asked for again once. `first` must be 0 unless
/// the shard is seekable.
[[nodiscard]] std::uint64_t fetch(const RemoteShard& shard, std::uint64_t first,
                                  std::optional<std::uint64_t> length, int fd, std::uint64_t at,
                                  const std::stop_token& stop);

}  // namespace plumbline
