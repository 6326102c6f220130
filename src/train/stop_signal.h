// SIGTERM, SIGUSR1 and the first SIGINT only set a flag that the loop reads at step boundaries. A
// second SIGINT ends the process at once.
#pragma once

namespace plumbline {

/// Installs the handlers for its lifetime. One at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  /// The signal that came, or 0.
  [[nodiscard]] int received() const;
};

}  // namespace plumbline
