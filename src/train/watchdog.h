// Ends a run that no longer moves: a rank waiting for another for ever, a dead file system.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace plumbline {

/// A thread that watches the stage the run is in. When one stage lasts longer than `timeout_s` it
/// calls `report` with a sentence naming stage, step and seconds, and ends the process with exit
/// code 75; the launcher then ends the other ranks. The first three steps, which build indexes and
/// warm up, may take three times as long. Every second it also calls `check`, from its thread; an
/// Error of it (a collective that failed in the background) ends the process the same way.
class Watchdog {
 public:
  Watchdog(double timeout_s, std::function<void(const std::string&)> report,
           std::function<void()> check = {});
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// A new stage begins. `stage` must be a string literal.
  void enter(const char* stage, std::int64_t step);

 private:
  void watch();
  [[noreturn]] void end(const std::string& why) const;
  void check_background() const;

  double timeout_s_;
  std::function<void(const std::string&)> report_;
  std::function<void()> check_;
  std::atomic<const char*> stage_{"start"};
  std::atomic<std::int64_t> step_{0};
  std::atomic<std::int64_t> entered_{0};  ///< counts stages, so that the same one twice is progress
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace plumbline
