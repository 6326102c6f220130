#include "data/shard_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "data/parallel.h"
#include "data/shard_index.h"
#include "plumbline/error.h"
#include "plumbline/handle.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// A file under a temporary name until commit(); removed when that does not come.
class PendingFile {
 public:
  explicit PendingFile(std::string path)
      : path_(std::move(path)), file_(std::fopen((path_ + ".tmp").c_str(), "wbe")) {
    if (!file_) fail("create");
  }
  ~PendingFile() {
    if (file_) ::unlink((path_ + ".tmp").c_str());
  }
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  void write(std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) fail("write");
  }
  void commit() {
    if (std::fflush(file_.get()) != 0 || ::fsync(::fileno(file_.get())) != 0) fail("write");
    if (std::rename((path_ + ".tmp").c_str(), path_.c_str()) != 0) fail("rename");
    file_.reset();
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Error(str("cannot ", what, " ", path_, ".tmp: ", std::strerror(errno)));
  }
  std::string path_;
  Handle<FILE, std::fclose> file_;
};

std::string shard_name(std::int64_t number) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "shard_%06lld.tar", static_cast<long long>(number));
  return name.data();
}

/// Claims the folder for this provenance.
void claim(const ShardFolder& folder) {
  std::error_code error;
  fs::create_directories(folder.out, error);
  if (error) throw Error(str("cannot create folder ", folder.out, ": ", error.message()));
  const std::string path = folder.out + "/provenance.json";
  const ordered_json mine = ordered_json::parse(folder.provenance);
  if (fs::exists(path)) {
    const auto there = ordered_json::parse(read_file(path), nullptr, false);
    if (there != mine) {
      throw UsageError(str("folder ", folder.out,
                           " holds shards made from other inputs or options (provenance.json); "
                           "choose another folder or remove it"));
    }
    return;
  }
  if (fs::exists(folder.out + "/" + shard_name(0))) {
    throw UsageError(str("folder ", folder.out,
                         " holds shards without provenance.json; choose "
                         "another folder"));
  }
  write_file_atomically(path, mine.dump(2) + "\n");
}

}  // namespace

ShardFolderReport write_shard_folder(
    const ShardFolder& folder,
    const std::function<void(std::int64_t, const std::function<void(std::string_view)>&)>&
        write_sample,
    const Progress& progress) {
  if (folder.samples_per_shard < 1) {
    throw UsageError(str("samples per shard: ", folder.samples_per_shard, " is below 1"));
  }
  claim(folder);
  ShardFolderReport report;
  const std::int64_t each = folder.samples_per_shard;
  report.shards = (folder.samples + each - 1) / each;
  std::mutex mutex;
  std::int64_t done = 0;
  const int threads = folder.threads > 0 ? folder.threads : available_threads();
  parallel_for(report.shards, threads, [&](std::int64_t s) {
    const std::string path = folder.out + "/" + shard_name(s);
    const std::int64_t end = std::min(folder.samples, (s + 1) * each);
    const bool there = fs::exists(path);
    if (!there) {
      PendingFile file(path);
      const auto sink = [&](std::string_view bytes) { file.write(bytes); };
      for (std::int64_t i = s * each; i < end; ++i) write_sample(i, sink);
      file.write(std::string(1024, '\0'));
      file.commit();
    }
    const IndexSettings settings;
    write_index(index_path(path, settings, ""), build_index(path, settings, ShardAccess()));
    const std::lock_guard lock(mutex);
    report.kept += there ? 1 : 0;
    report.bytes += static_cast<std::int64_t>(fs::file_size(path));
    done += end - s * each;
    if (progress) progress(done, folder.samples);
  });
  ordered_json sizes = ordered_json::object();
  for (std::int64_t s = 0; s < report.shards; ++s) {
    sizes[shard_name(s)] = std::min(each, folder.samples - s * each);
  }
  write_file_atomically(folder.out + "/sizes.json", sizes.dump(2) + "\n");
  return report;
}

}  // namespace plumbline
