#include "data/shard_files.h"

namespace plumbline {
namespace {

constexpr std::size_t kOpenFiles = 128;
constexpr std::uint64_t kTemporaryBytes = std::uint64_t{16} << 30;

}  // namespace

void ShardFiles::make_room() const {
  while (ages_.size() > 1 && (ages_.size() > kOpenFiles || temporary_bytes_ > kTemporaryBytes)) {
    const auto oldest = entries_.find(ages_.back());
    temporary_bytes_ -= oldest->second.temporary_bytes;
    entries_.erase(oldest);
    ages_.pop_back();
  }
}

std::shared_ptr<const ByteSource> ShardFiles::get(std::uint32_t number,
                                                  const IndexedShard& shard) const {
  for (;;) {
    if (auto file = open_or_wait(number, shard)) return file;
  }
}

/// Null when another thread's opening failed, which then tells why.
std::shared_ptr<const ByteSource> ShardFiles::open_or_wait(std::uint32_t number,
                                                           const IndexedShard& shard) const {
  std::promise<std::shared_ptr<const ByteSource>> promise;
  Opened opened;
  bool mine = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(number);
    if (found != entries_.end()) {
      ages_.splice(ages_.begin(), ages_, found->second.age);
      opened = found->second.file;
    } else {
      mine = true;
      opened = promise.get_future().share();
      ages_.push_front(number);
      entries_[number] = {opened, ages_.begin(), 0};
      make_room();
    }
  }
  if (!mine) return opened.get();
  try {
    auto file = shard.open();
    if (file->temporary()) {
      const std::lock_guard lock(mutex_);
      const auto found = entries_.find(number);
      if (found != entries_.end()) {
        found->second.temporary_bytes = file->size();
        temporary_bytes_ += file->size();
      }
      make_room();
    }
    promise.set_value(file);
    return file;
  } catch (...) {
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = entries_.find(number); found != entries_.end()) {
        ages_.erase(found->second.age);
        entries_.erase(found);
      }
    }
    // Those who wait try for themselves, and have an exception of their own.
    promise.set_value(nullptr);
    throw;
  }
}

}  // namespace plumbline
