#include "data/range_store.h"

#include <unistd.h>

#include <algorithm>

#include "data/siphash.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::size_t kLeastBlocks = 64;

std::uint64_t hash_of(std::span<const std::uint8_t> bytes) {
  return siphash({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::uint64_t block_bytes(const RemoteStamp& stamp, std::uint64_t block) {
  return std::min(kRemoteBlock, stamp.bytes - block * kRemoteBlock);
}

[[noreturn]] void changed(const std::string& name, std::uint64_t byte) {
  throw DataError(str("shard ", name, ": the bytes from ", byte,
                      " on are not those of its index: the object changed; when that is right, "
                      "remove its index, which ends every run that was made with it"));
}

}  // namespace

std::vector<std::uint64_t> block_hashes(const ByteSource& bytes) {
  std::vector<std::uint64_t> hashes;
  std::vector<std::uint8_t> buffer(std::min(kRemoteBlock, bytes.size()));
  for (std::uint64_t at = 0; at < bytes.size(); at += kRemoteBlock) {
    hashes.push_back(hash_of({buffer.data(), bytes.read_at(at, buffer)}));
  }
  return hashes;
}

void check_stamp(const ByteSource& bytes, const RemoteStamp& stamp) {
  const std::vector<std::uint64_t> hashes = block_hashes(bytes);
  for (std::size_t i = 0; i < std::max(hashes.size(), stamp.hashes.size()); ++i) {
    if (i >= hashes.size() || i >= stamp.hashes.size() || hashes[i] != stamp.hashes[i]) {
      changed(bytes.name(), i * kRemoteBlock);
    }
  }
}

RangeStore::RangeStore(const std::string& spool_dir, std::uint64_t bytes)
    : file_(unnamed_file(spool_dir)),
      capacity_(std::max<std::size_t>(kLeastBlocks, bytes / kRemoteBlock)) {}

/// The slot of `key`, held; `mine`: it must be filled by the caller.
std::size_t RangeStore::claim(const std::string& key, bool& mine) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
      const std::size_t slot = found->second;
      if (!slots_[slot].ready) {
        changed_.wait(lock);
        continue;
      }
      ++slots_[slot].users;
      ages_.splice(ages_.begin(), ages_, places_[slot]);
      mine = false;
      return slot;
    }
    std::size_t slot = slots_.size();
    if (slot < capacity_) {
      slots_.emplace_back();
      ages_.push_front(slot);
      places_.push_back(ages_.begin());
    } else {
      const auto idle = std::find_if(ages_.rbegin(), ages_.rend(),
                                     [&](std::size_t s) { return slots_[s].users == 0; });
      if (idle == ages_.rend()) {
        changed_.wait(lock);
        continue;
      }
      slot = *idle;
      by_key_.erase(slots_[slot].key);
      ages_.splice(ages_.begin(), ages_, places_[slot]);
    }
    slots_[slot] = {key, false, 1};
    by_key_[key] = slot;
    mine = true;
    return slot;
  }
}

void RangeStore::leave(std::size_t slot) {
  {
    const std::lock_guard lock(mutex_);
    --slots_[slot].users;
  }
  changed_.notify_all();
}

void RangeStore::fill(std::size_t slot, const RemoteShard& shard, const RemoteStamp& stamp,
                      std::uint64_t block, const std::stop_token& stop) {
  const std::uint64_t first = block * kRemoteBlock;
  const std::uint64_t size = block_bytes(stamp, block);
  try {
    (void)fetch(shard, first, size, file_.get(), slot * kRemoteBlock, stop);
    std::vector<std::uint8_t> bytes(size);
    read_exactly(file_.get(), slot * kRemoteBlock, bytes, shard.name);
    if (hash_of(bytes) != stamp.hashes[block]) changed(shard.name, first);
  } catch (...) {
    {
      const std::lock_guard lock(mutex_);
      by_key_.erase(slots_[slot].key);
      slots_[slot] = {};
    }
    changed_.notify_all();
    throw;
  }
  {
    const std::lock_guard lock(mutex_);
    slots_[slot].ready = true;
  }
  changed_.notify_all();
}

void RangeStore::read(const RemoteShard& shard, const RemoteStamp& stamp, std::uint64_t block,
                      std::uint64_t offset, std::span<std::uint8_t> out,
                      const std::stop_token& stop) {
  bool mine = false;
  const std::size_t slot = claim(str(block, " ", shard.name), mine);
  if (mine) fill(slot, shard, stamp, block, stop);
  try {
    read_exactly(file_.get(), slot * kRemoteBlock + offset, out, shard.name);
  } catch (...) {
    leave(slot);
    throw;
  }
  leave(slot);
}

std::size_t RangeBytes::read_at(std::uint64_t offset, std::span<std::uint8_t> out) const {
  if (offset >= stamp_.bytes) return 0;
  out = out.first(std::min<std::uint64_t>(out.size(), stamp_.bytes - offset));
  for (std::size_t done = 0; done < out.size();) {
    const std::uint64_t at = offset + done;
    const std::uint64_t inside = at % kRemoteBlock;
    const std::uint64_t n = std::min<std::uint64_t>(out.size() - done, kRemoteBlock - inside);
    store_->read(shard_, stamp_, at / kRemoteBlock, inside, out.subspan(done, n), stop_);
    done += n;
  }
  return out.size();
}

}  // namespace plumbline
