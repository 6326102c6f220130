#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "cmd/command.h"

namespace plumbline {

void check_output_folder(const std::string& flag, const std::string& folder) {
  namespace fs = std::filesystem;
  if (folder.empty()) throw UsageError(flag + ": is empty");
  fs::path there = fs::absolute(folder).lexically_normal();
  // What exists of the path decides; the rest is made later.
  std::error_code error;
  while (!fs::exists(there, error) && there.has_relative_path()) there = there.parent_path();
  if (!fs::is_directory(there, error)) {
    throw UsageError(str(flag, " ", folder, ": ", there.string(), " is no folder"));
  }
  if (::access(there.c_str(), W_OK | X_OK) != 0) {
    throw UsageError(
        str(flag, " ", folder, ": cannot write into ", there.string(), ": ", std::strerror(errno)));
  }
}

}  // namespace plumbline
