// A shell command whose output is read, with a watchdog: what stands behind `pipe:` shards.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <stop_token>
#include <string>

#include "data/byte_source.h"

namespace plumbline {

/// `/bin/sh -c COMMAND` in a process group of its own, standard input empty. The destructor kills
/// the whole group and reaps it, so that nothing stays behind. One thread at a time.
class PipeCommand {
 public:
  /// Throws DataError when it cannot be started.
  explicit PipeCommand(const std::string& command);
  ~PipeCommand();
  PipeCommand(const PipeCommand&) = delete;
  PipeCommand& operator=(const PipeCommand&) = delete;

  enum class Event {
    bytes,   ///< `n` of them
    end,     ///< the command closed its output
    silent,  ///< no byte for `timeout_s`
    stopped  ///< by the token
  };
  /// Waits for output.
  [[nodiscard]] Event read(std::span<std::uint8_t> out, double timeout_s,
                           const std::stop_token& stop, std::size_t& n);
  /// After the end of the output: "" for exit status 0, else how the command ended. Waits at most
  /// `timeout_s` for that.
  [[nodiscard]] std::string finish(double timeout_s);
  /// The last 4 KB that it wrote to standard error.
  [[nodiscard]] const std::string& complaints() const { return complaints_; }

 private:
  void keep_complaints();

  pid_t pid_ = -1;
  FileDescriptor output_, errors_;
  bool errors_open_ = true;
  std::string complaints_;
};

}  // namespace plumbline
