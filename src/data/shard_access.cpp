#include "data/shard_access.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::uint64_t kRangeBytes = std::uint64_t{16} << 30;
constexpr double kGigabyte = 1e9;

void copy_whole(const RemoteShard& shard, const ShardAccess& access, const RemoteStamp* known,
                int fd) {
  const std::uint64_t size = fetch(shard, 0, std::nullopt, fd, 0, access.stop.get_token());
  // An attempt that was thrown away may have been longer.
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) {
    throw Error(str("storing shard ", shard.name, ": ", std::strerror(errno)));
  }
  if (known) check_stamp(FileBytes(FileDescriptor(::dup(fd)), shard.name), *known);
}

bool any_pipe(const DataOptions& options) {
  for (const SourceOptions& source : options.sources) {
    for (const std::string& shard : source.shards) {
      if (is_pipe(shard) || shard.starts_with('@')) return true;
    }
  }
  return false;
}

}  // namespace

ShardAccess::ShardAccess(const DataOptions& options)
    : spool_dir(options.index_dir), pipe(options.pipe) {
  if (!options.allow_pipe || !any_pipe(options)) return;
  if (!options.cache.dir.empty()) {
    if (!(options.cache.gb > 0)) {
      throw UsageError(str("data.cache.gb: ", options.cache.gb, " is not above 0"));
    }
    cache = std::make_shared<ShardCache>(options.cache.dir,
                                         static_cast<std::uint64_t>(options.cache.gb * kGigabyte));
  } else {
    ranges = std::make_shared<RangeStore>(spool_dir, kRangeBytes);
  }
}

RemoteShard ShardAccess::remote(const std::string& shard) const { return {shard, pipe, counters}; }

std::shared_ptr<const FileBytes> open_raw(const std::string& shard, const ShardAccess& access,
                                          const RemoteStamp* known) {
  if (!is_pipe(shard)) return std::make_shared<FileBytes>(shard);
  const RemoteShard remote = access.remote(shard);
  if (access.cache) {
    FileDescriptor file = access.cache->open(
        shard, [&](int fd) { copy_whole(remote, access, known, fd); }, access.stop.get_token());
    auto bytes = std::make_shared<FileBytes>(std::move(file), shard);
    if (known && bytes->size() != known->bytes) check_stamp(*bytes, *known);
    return bytes;
  }
  FileDescriptor file = unnamed_file(access.spool_dir);
  copy_whole(remote, access, known, file.get());
  return std::make_shared<FileBytes>(std::move(file), shard, true);
}

std::shared_ptr<const ByteSource> open_shard(const std::string& path, const ShardAccess& access,
                                             bool sparse) {
  return open_plain(open_raw(path, access), access, sparse);
}

}  // namespace plumbline
