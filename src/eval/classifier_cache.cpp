#include "eval/classifier_cache.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kDigest = 64;
constexpr const char* kExtension = ".rows";

/// Content of an entry behind its digest; none when the two do not belong together.
std::optional<std::string> open_entry(const std::string& file) {
  if (file.size() <= kDigest || file[kDigest] != '\n') return std::nullopt;
  std::string rest = file.substr(kDigest + 1);
  if (sha256_hex(rest) != file.substr(0, kDigest)) return std::nullopt;
  return rest;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

ClassifierCache::ClassifierCache(std::string folder, std::int64_t most_bytes)
    : folder_(std::move(folder)), most_bytes_(most_bytes) {}

std::string ClassifierCache::path_of(const std::string& key) const {
  return str(folder_, "/", key, kExtension);
}

std::optional<std::string> ClassifierCache::find(const std::string& key) const {
  const std::string path = path_of(key);
  std::error_code failed;
  if (!fs::is_regular_file(path, failed)) return std::nullopt;
  try {
    std::optional<std::string> rows = open_entry(read_file(path));
    if (rows) fs::last_write_time(path, fs::file_time_type::clock::now(), failed);
    return rows;
  } catch (const DataError&) {  // another run has removed it since
    return std::nullopt;
  }
}

void ClassifierCache::keep(const std::string& key, std::string_view bytes) const {
  std::error_code failed;
  fs::create_directories(folder_, failed);
  if (failed) throw Error(str("making the folder ", folder_, ": ", failed.message()));
  std::string file = sha256_hex(bytes);
  file.append("\n").append(bytes);
  const std::string path = path_of(key);
  // Two runs may write one entry at once, each its own file; both have the same content.
  const std::string own = str(path, ".", ::getpid());
  write_file_atomically(own, file);
  fs::rename(own, path, failed);
  if (failed) throw Error(str("renaming ", own, " to ", path, ": ", failed.message()));
  remove_oldest();
}

void ClassifierCache::remove_oldest() const {
  struct Entry {
    fs::file_time_type time;
    fs::path path;
    std::int64_t bytes;
  };
  std::vector<Entry> entries;
  std::int64_t total = 0;
  std::error_code failed;
  for (const auto& file : fs::directory_iterator(folder_, failed)) {
    // What a crash left behind ends in a process id and is counted like the rest.
    if (file.path().filename().string().find(kExtension) == std::string::npos) continue;
    std::error_code gone;
    const Entry entry{file.last_write_time(gone), file.path(),
                      static_cast<std::int64_t>(file.file_size(gone))};
    if (gone) continue;
    total += entry.bytes;
    entries.push_back(entry);
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.time < b.time; });
  for (std::size_t i = 0; i < entries.size() && total > most_bytes_; ++i) {
    if (fs::remove(entries[i].path, failed)) total -= entries[i].bytes;
  }
}

std::string classifier_cache_folder(const std::string& setting) {
  if (setting == "off") return "";
  if (setting != "auto") return setting;
  const std::string cache = variable("XDG_CACHE_HOME"), home = variable("HOME");
  if (cache.empty() && home.empty()) return "";
  return str(cache.empty() ? str(home, "/.cache") : cache, "/plumbline/classifiers");
}

}  // namespace plumbline
