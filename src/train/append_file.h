// A file that grows by whole records while a run goes on, and whose failures never end the run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace plumbline {

class AppendFile {
 public:
  using Warn = std::function<void(const std::string&)>;

  /// Opens PATH for appending. Throws Error naming the path and the system's reason.
  explicit AppendFile(std::string path, Warn warn = {});
  ~AppendFile();
  AppendFile(AppendFile&&) = delete;

  /// The record stands in the file completely or not at all. On a full disk it is lost: `warn` is
  /// told once, and again with the number of lost records when there is room.
  void append(std::string_view record);
  [[nodiscard]] std::int64_t lost() const { return lost_; }

 private:
  std::string path_;
  Warn warn_;
  int fd_ = -1;
  std::int64_t lost_ = 0;  ///< since the last record that was written
};

}  // namespace plumbline
