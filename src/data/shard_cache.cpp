#include "data/shard_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <thread>
#include <vector>

#include "core/file.h"
#include "data/siphash.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

std::string name_of(const std::string& shard) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx.shard",
                static_cast<unsigned long long>(siphash(shard)),
                static_cast<unsigned long long>(siphash(shard, 1)));
  return text.data();
}

[[noreturn]] void fail(const char* what, const std::string& path) {
  throw Error(str("shard cache: cannot ", what, " ", path, ": ", std::strerror(errno)));
}

/// Opens (creating) and locks a file; waits for another owner.
FileDescriptor lock_file(const std::string& path, int flags, const std::stop_token& stop) {
  FileDescriptor file(::open(path.c_str(), flags | O_CREAT | O_CLOEXEC, 0644));
  if (file.get() < 0) fail("create", path);
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) fail("lock", path);
    if (stop.stop_requested()) throw Error(str("shard cache: waiting for ", path, " was stopped"));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return file;
}

struct Kept {
  std::string path;
  std::uint64_t bytes;
  std::int64_t opened_ns;
};

/// Files of the journal that are there, least recently opened first.
std::vector<Kept> kept_files(const std::string& folder, const std::string& journal) {
  std::vector<Kept> kept;
  std::istringstream lines(journal);
  for (std::string name; std::getline(lines, name);) {
    // A name is never a path out of the folder, whatever stands in the journal.
    if (!name.ends_with(".shard") || name.find('/') != std::string::npos) continue;
    struct stat info {};
    const std::string path = folder + "/" + name;
    if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    kept.push_back({path, static_cast<std::uint64_t>(info.st_size),
                    info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec});
  }
  std::sort(kept.begin(), kept.end(),
            [](const Kept& a, const Kept& b) { return a.opened_ns < b.opened_ns; });
  return kept;
}

}  // namespace

ShardCache::ShardCache(std::string folder, std::uint64_t bytes)
    : folder_(std::move(folder)), bytes_(bytes) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) {
    throw UsageError(str("data.cache.dir: cannot create ", folder_, ": ", error.message()));
  }
}

FileDescriptor ShardCache::open_present(const std::string& path) const {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() >= 0) (void)::futimens(file.get(), nullptr);  // opened now, for the order of age
  return file;
}

void ShardCache::add_to_journal(const std::string& name, const std::stop_token& stop) const {
  const std::string path = folder_ + "/journal";
  const FileDescriptor file = lock_file(path, O_RDWR | O_APPEND, stop);
  std::string journal = read_file(path);
  if (journal.find(name + "\n") == std::string::npos) {
    journal += name + "\n";
    const std::string line = name + "\n";
    if (::write(file.get(), line.data(), line.size()) != std::ssize(line)) fail("write", path);
  }
  const std::vector<Kept> kept = kept_files(folder_, journal);
  std::uint64_t total = 0;
  for (const Kept& one : kept) total += one.bytes;
  for (const Kept& one : kept) {
    if (total <= bytes_ || one.path == folder_ + "/" + name) continue;
    if (::unlink(one.path.c_str()) == 0) total -= one.bytes;
  }
}

FileDescriptor ShardCache::open(const std::string& shard, const std::function<void(int fd)>& fetch,
                                const std::stop_token& stop) const {
  const std::string name = name_of(shard);
  const std::string path = folder_ + "/" + name;
  FileDescriptor file = open_present(path);
  if (file.get() >= 0) return file;
  const std::string part = path + ".part";
  {
    const FileDescriptor lock = lock_file(part, O_RDWR, stop);
    file = open_present(path);
    if (file.get() >= 0) {  // another process was faster
      ::unlink(part.c_str());
      return file;
    }
    try {
      if (::ftruncate(lock.get(), 0) != 0) fail("empty", part);
      fetch(lock.get());
      if (::rename(part.c_str(), path.c_str()) != 0) fail("rename", part);
    } catch (...) {
      ::unlink(part.c_str());
      throw;
    }
  }
  file = open_present(path);
  add_to_journal(name, stop);
  if (file.get() < 0) fail("open", path);
  return file;
}

}  // namespace plumbline
