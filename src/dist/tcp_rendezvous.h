// How ranks without MPI find each other: rank 0 opens a door, the others knock and say who they
// are.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dist/launch_environment.h"
#include "dist/socket.h"
#include "plumbline/error.h"

namespace plumbline {

/// What rank 0 answers, here and in every collective. `bytes` follow: the result when `code` is 0,
/// else a sentence (when it `aborts`: nothing, and the process ends with `code`).
struct Reply {
  std::int32_t code = 0;
  std::int32_t aborts = 0;
  std::int64_t bytes = 0;
};

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}
template <typename T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span<T, 1>(&value, 1));
}

/// The connections of a rank.
struct Meeting {
  std::vector<Socket> others;      ///< rank 0: by rank, its own closed; else only rank 0's
  std::vector<std::string> hosts;  ///< by rank; known to rank 0
  int local_rank = 0;
};

/// Brings the ranks together; make_tcp_communicator says how it fails.
[[nodiscard]] Meeting meet(const LaunchEnvironment& place, std::chrono::milliseconds patience);

/// Tells every rank why rank 0 stops, as far as it can be reached.
void tell_all(std::span<const Socket> others, const std::string& sentence, ExitCode code) noexcept;

}  // namespace plumbline
