// Opening shards wherever they are: plain, compressed or printed by a command.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "data/range_store.h"
#include "data/shard_cache.h"
#include "plumbline/data.h"

namespace plumbline {

/// How the shards of a source are reached; shared by all of them.
struct ShardAccess {
  /// Local shards only; compressed ones are unpacked into `spool` (empty: the system's folder).
  ShardAccess(std::string spool = "") : spool_dir(std::move(spool)) {}
  /// With the cache and limits of `options`.
  explicit ShardAccess(const DataOptions& options);

  std::string spool_dir;
  PipeOptions pipe;
  std::shared_ptr<RemoteCounters> counters = std::make_shared<RemoteCounters>();
  std::shared_ptr<const ShardCache> cache;  ///< null: none
  std::shared_ptr<RangeStore> ranges;       ///< null: whole shards only
  std::stop_source stop;

  [[nodiscard]] RemoteShard remote(const std::string& shard) const;
};

/// The bytes of a shard as they are, compressed or not: a file, or a whole copy of what a command
/// prints, in the cache or in an unnamed temporary file. With `known` a fresh copy is compared with
/// it.
[[nodiscard]] std::shared_ptr<const FileBytes> open_raw(const std::string& shard,
                                                        const ShardAccess& access,
                                                        const RemoteStamp* known = nullptr);

/// Opens a shard as plain tar bytes. Its first bytes, not its name, tell gzip and zstd: those are
/// decompressed once into an unnamed temporary file, so that they can be read at any offset; with
/// `sparse` (the scanner refused a sparse member) the tar is rewritten as a plain one the same way.
/// At most 64 GiB and 1000 times the input. Throws DataError naming the shard. Needs that much disk
/// while the result lives.
[[nodiscard]] std::shared_ptr<const ByteSource> open_shard(const std::string& path,
                                                           const ShardAccess& access,
                                                           bool sparse = false);
[[nodiscard]] std::shared_ptr<const ByteSource> open_plain(std::shared_ptr<const FileBytes> raw,
                                                           const ShardAccess& access, bool sparse);

}  // namespace plumbline
