#include "train/stop_signal.h"

#include <signal.h>
#include <unistd.h>

#include <array>

#include "plumbline/error.h"

namespace plumbline {
namespace {

// A signal handler can reach nothing but a static.
volatile sig_atomic_t stop_signal = 0;
constexpr std::array<int, 3> kSignals = {SIGTERM, SIGUSR1, SIGINT};

void on_signal(int number) {
  if (number == SIGINT && stop_signal == SIGINT) ::_exit(static_cast<int>(ExitCode::resumable));
  stop_signal = number;
}

}  // namespace

StopSignal::StopSignal() {
  stop_signal = 0;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int number : kSignals) sigaction(number, &action, nullptr);
}

StopSignal::~StopSignal() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (const int number : kSignals) sigaction(number, &action, nullptr);
}

int StopSignal::received() const { return stop_signal; }

}  // namespace plumbline
