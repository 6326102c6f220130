// What one thread of a pipeline is doing, for the stage times of a run and for the name of a stall.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "data/source.h"

namespace plumbline {

enum class Doing { input, output, memory, working };  ///< waiting for the first three
enum class BuildPart { text, decode, resize };

/// Written by its thread, read by any.
class ThreadNote {
 public:
  /// What the thread does from now on.
  void doing(Doing what) {
    const std::int64_t now = now_ns();
    total_ns_[static_cast<std::size_t>(what_.load())] += now - since_ns_;
    since_ns_ = now;
    what_ = what;
  }
  /// Which sample it works on.
  void sample(int source, const SampleRef& ref) {
    shard_ = ref.shard;
    offset_ = ref.record.offset;
    source_ = source;
  }
  void add(BuildPart part, std::int64_t ns) { part_ns_[static_cast<std::size_t>(part)] += ns; }

  [[nodiscard]] Doing what() const { return what_; }
  /// For how long it has been doing that.
  [[nodiscard]] double lasting_s() const {
    return 1e-9 * static_cast<double>(now_ns() - since_ns_);
  }
  /// In all, until now.
  [[nodiscard]] double seconds(Doing what) const {
    const double running = what_ == what ? lasting_s() : 0;
    return running + 1e-9 * static_cast<double>(total_ns_[static_cast<std::size_t>(what)]);
  }
  [[nodiscard]] double seconds(BuildPart part) const {
    return 1e-9 * static_cast<double>(part_ns_[static_cast<std::size_t>(part)]);
  }
  [[nodiscard]] int source() const { return source_; }  ///< -1: none yet
  /// Shard and offset alone.
  [[nodiscard]] SampleRef ref() const {
    SampleRef ref;
    ref.shard = shard_;
    ref.record.offset = offset_;
    return ref;
  }
  [[nodiscard]] static std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

 private:
  std::atomic<Doing> what_ = Doing::input;
  std::atomic<std::int64_t> since_ns_ = now_ns();
  std::array<std::atomic<std::int64_t>, 4> total_ns_ = {};
  std::array<std::atomic<std::int64_t>, 3> part_ns_ = {};
  std::atomic<int> source_ = -1;
  std::atomic<std::uint32_t> shard_ = 0;
  std::atomic<std::uint64_t> offset_ = 0;
};

}  // namespace plumbline
