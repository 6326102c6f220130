// Errors that stop a command. Bad samples that a run survives are values (bad_sample.h), not these.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace plumbline {

/// Exit codes of the program, the same for every command.
enum class ExitCode : int {
  done = 0,
  failed = 1,      ///< a check found problems, or a command failed on its way
  usage = 2,       ///< wrong usage or configuration: nothing was started, nothing written
  bad_data = 65,   ///< bad data or checkpoint
  internal = 70,   ///< internal error, or a run given up
  resumable = 75,  ///< stopped early: the same command goes on
};

/// Joins its arguments as operator<< prints them: str("shard ", path, " at byte ", n).
template <typename... Args>
[[nodiscard]] std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

/// The command must stop. `what()` is one sentence: what failed, where, with which values.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what, ExitCode code = ExitCode::failed)
      : std::runtime_error(what), code_(code) {}
  [[nodiscard]] ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

/// Wrong usage or configuration (exit 2).
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& what) : Error(what, ExitCode::usage) {}
};

/// Unreadable, truncated or contradictory data or checkpoint (exit 65).
class DataError : public Error {
 public:
  explicit DataError(const std::string& what) : Error(what, ExitCode::bad_data) {}
};

/// A broken promise of our own (exit 70).
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& what) : Error(what, ExitCode::internal) {}
};

/// Throws InternalError with `sentence` unless `condition`; on in every build type.
inline void require(bool condition, std::string_view sentence) {
  if (!condition) throw InternalError(std::string(sentence));
}

}  // namespace plumbline
