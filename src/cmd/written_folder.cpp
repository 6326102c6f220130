#include "cmd/written_folder.h"

#include <unistd.h>

#include <filesystem>

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

/// Absolute and without a slash at its end.
fs::path plain(const std::string& out) {
  const fs::path path = fs::absolute(out).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

void refuse_existing(const std::string& out) {
  std::error_code failed;
  const fs::file_status status = fs::symlink_status(out, failed);
  if (!fs::exists(status)) return;
  if (fs::is_directory(status) && fs::is_empty(out, failed) && !failed) return;
  throw UsageError(str(out, " exists already and is not an empty folder; choose another --out"));
}

void write_folder(const std::string& out, const std::function<void(const std::string&)>& fill) {
  refuse_existing(out);
  const fs::path path = plain(out);
  const std::string temporary = str(path.string(), ".tmp-", ::getpid());
  std::error_code failed;
  fs::create_directories(temporary, failed);
  if (failed) throw Error(str("cannot create ", temporary, ": ", failed.message()));
  try {
    fill(temporary);
    fs::rename(temporary, path);
  } catch (const fs::filesystem_error& e) {
    fs::remove_all(temporary, failed);
    throw Error(str("cannot write ", out, ": ", e.code().message()));
  } catch (...) {
    fs::remove_all(temporary, failed);
    throw;
  }
  sync_folder(path.parent_path().string());
}

}  // namespace plumbline
