#include "train/watchdog.h"

#include <unistd.h>

#include <chrono>

#include "plumbline/error.h"

namespace plumbline {

Watchdog::Watchdog(double timeout_s, std::function<void(const std::string&)> report,
                   std::function<void()> check)
    : timeout_s_(timeout_s),
      report_(std::move(report)),
      check_(std::move(check)),
      thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void Watchdog::enter(const char* stage, std::int64_t step) {
  stage_ = stage;
  step_ = step;
  ++entered_;
}

void Watchdog::end(const std::string& why) const {
  report_(str(why, " in the stage '", stage_.load(), "' of step ", step_.load() + 1,
              "; the run ends and can be resumed"));
  ::_exit(static_cast<int>(ExitCode::resumable));
}

void Watchdog::check_background() const {
  try {
    if (check_) check_();
  } catch (const Error& e) {
    end(e.what());
  }
}

void Watchdog::watch() {
  using Clock = std::chrono::steady_clock;
  std::int64_t seen = -1;
  auto since = Clock::now(), checked = since;
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, std::chrono::milliseconds(200), [this] { return stopping_; })) {
    const auto now = Clock::now();
    if (now - checked >= std::chrono::seconds(1)) {
      checked = now;
      check_background();
    }
    if (const std::int64_t entered = entered_; entered != seen) {
      seen = entered;
      since = now;
      continue;
    }
    const double seconds = std::chrono::duration<double>(now - since).count();
    if (seconds < timeout_s_ * (step_ < 3 ? 3 : 1)) continue;
    end(str("no progress for ", static_cast<int>(seconds), " s"));
  }
}

}  // namespace plumbline
