// A bounded queue between threads, first in first out.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace plumbline {

/// push() blocks while the queue is full, pop() while it is empty. After stop() push() drops its
/// argument and pop() returns nothing, at once.
template <typename T>
class Queue {
 public:
  explicit Queue(std::size_t capacity) : capacity_(capacity) {}

  void push(T item) {
    {
      std::unique_lock lock(mutex_);
      not_full_.wait(lock, [&] { return stopped_ || items_.size() < capacity_; });
      if (stopped_) return;
      items_.push_back(std::move(item));
    }
    not_empty_.notify_one();
  }

  [[nodiscard]] std::optional<T> pop() {
    std::optional<T> item;
    {
      std::unique_lock lock(mutex_);
      not_empty_.wait(lock, [&] { return stopped_ || !items_.empty(); });
      if (stopped_) return std::nullopt;
      item.emplace(std::move(items_.front()));
      items_.pop_front();
    }
    not_full_.notify_one();
    return item;
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      items_.clear();
    }
    not_full_.notify_all();
    not_empty_.notify_all();
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable not_full_, not_empty_;
  std::deque<T> items_;
  bool stopped_ = false;
};

/// A stock of units (bytes) that threads take and give back.
class Credit {
 public:
  explicit Credit(std::size_t total) : total_(total), free_(total) {}
  /// Blocks until `n` units (at most all of them) are free; returns how many were taken. After
  /// stop() returns 0 at once.
  [[nodiscard]] std::size_t take(std::size_t n) {
    n = n < total_ ? n : total_;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || free_ >= n; });
    if (stopped_) return 0;
    free_ -= n;
    return n;
  }
  void give_back(std::size_t n) {
    {
      const std::lock_guard lock(mutex_);
      free_ += n;
    }
    changed_.notify_all();
  }
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
  }
  [[nodiscard]] std::size_t total() const { return total_; }

 private:
  const std::size_t total_;
  std::size_t free_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
};

}  // namespace plumbline
