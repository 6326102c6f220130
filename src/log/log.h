// What the program says: rank 0 on the terminal, every rank into its own file. The only user of
// spdlog. A Log is an argument, never a global.
#pragma once

#include <memory>
#include <string>

namespace plumbline {

class Log {
 public:
  /// `file` empty: no file. Only a Log with `terminal` writes to stderr. Throws Error when the file
  /// cannot be created.
  Log(const std::string& file, bool terminal);
  ~Log();
  Log(Log&&) noexcept;

  void info(const std::string& line) const;
  void warn(const std::string& line) const;
  void error(const std::string& line) const;
  /// Terminal only, without time stamp: on a TTY replaces the previous progress line, else (plain
  /// lines) prints `line`. Pass "" to clear it.
  void progress(const std::string& line) const;
  /// Whether progress lines replace each other.
  [[nodiscard]] bool is_terminal() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// "1:02:03" or "2:03".
[[nodiscard]] std::string format_duration(double seconds);

}  // namespace plumbline
