#include "data/pipe_command.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "plumbline/error.h"

namespace plumbline {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPipeBytes = 1 << 20;
constexpr std::size_t kComplaints = 4096;
constexpr int kSliceMs = 100;  // how soon a stop is seen

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct PipeEnds {
  FileDescriptor read, write;
};

PipeEnds make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw DataError(str("cannot make a pipe: ", std::strerror(errno)));
  }
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

/// posix_spawn's two option objects.
struct SpawnOptions {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  SpawnOptions(int output, int errors) {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&files, output, 1);
    ::posix_spawn_file_actions_adddup2(&files, errors, 2);
    ::posix_spawnattr_init(&attributes);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes, &signals);
    for (const int s : {SIGPIPE, SIGINT, SIGTERM, SIGUSR1, SIGCHLD}) ::sigaddset(&signals, s);
    ::posix_spawnattr_setsigdefault(&attributes, &signals);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnOptions() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;
};

}  // namespace

PipeCommand::PipeCommand(const std::string& command) {
  PipeEnds output = make_pipe();
  PipeEnds errors = make_pipe();
  (void)::fcntl(output.read.get(), F_SETPIPE_SZ, kPipeBytes);  // fewer switches; may be refused
  (void)::fcntl(errors.read.get(), F_SETFL, O_NONBLOCK);
  const SpawnOptions options(output.write.get(), errors.write.get());
  std::string shell = "/bin/sh", flag = "-c", text = command;
  std::array<char*, 4> arguments = {shell.data(), flag.data(), text.data(), nullptr};
  const int failed = ::posix_spawn(&pid_, shell.c_str(), &options.files, &options.attributes,
                                   arguments.data(), ::environ);
  if (failed != 0) throw DataError(str("cannot start /bin/sh: ", std::strerror(failed)));
  output_ = std::move(output.read);
  errors_ = std::move(errors.read);
}

PipeCommand::~PipeCommand() {
  if (pid_ < 0) return;
  ::kill(-pid_, SIGKILL);  // the leader is not yet reaped, so the group's number is still its own
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

void PipeCommand::keep_complaints() {
  std::array<char, kComplaints> buffer{};
  const ssize_t n = ::read(errors_.get(), buffer.data(), buffer.size());
  if (n == 0) errors_open_ = false;
  if (n <= 0) return;
  complaints_.append(buffer.data(), static_cast<std::size_t>(n));
  if (complaints_.size() > kComplaints) complaints_.erase(0, complaints_.size() - kComplaints);
}

PipeCommand::Event PipeCommand::read(std::span<std::uint8_t> out, double timeout_s,
                                     const std::stop_token& stop, std::size_t& n) {
  const auto start = Clock::now();
  while (!stop.stop_requested()) {
    std::array<pollfd, 2> wanted = {pollfd{output_.get(), POLLIN, 0},
                                    pollfd{errors_open_ ? errors_.get() : -1, POLLIN, 0}};
    const int ready = ::poll(wanted.data(), wanted.size(), kSliceMs);
    if (ready < 0 && errno != EINTR) {
      throw DataError(str("waiting for a pipe: ", std::strerror(errno)));
    }
    if (ready > 0 && wanted[1].revents != 0) keep_complaints();
    if (ready > 0 && wanted[0].revents != 0) {
      const ssize_t got = ::read(output_.get(), out.data(), out.size());
      if (got == 0) return Event::end;
      if (got > 0) {
        n = static_cast<std::size_t>(got);
        return Event::bytes;
      }
      if (errno != EINTR) throw DataError(str("reading a pipe: ", std::strerror(errno)));
    }
    if (seconds_since(start) > timeout_s) return Event::silent;
  }
  return Event::stopped;
}

std::string PipeCommand::finish(double timeout_s) {
  const auto start = Clock::now();
  siginfo_t info{};
  // WNOWAIT: the destructor kills the rest of the group before the leader is reaped.
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0) {
    if (seconds_since(start) > timeout_s) return "it closed its output but did not end";
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (errors_open_) keep_complaints();
  if (info.si_code != CLD_EXITED) return str("killed by signal ", info.si_status);
  return info.si_status == 0 ? "" : str("exit status ", info.si_status);
}

}  // namespace plumbline
