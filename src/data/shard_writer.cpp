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
void claim(const NamedShards& folder) {
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
  if (!folder.names.empty() && fs::exists(folder.out + "/" + folder.names[0])) {
    throw UsageError(str("folder ", folder.out,
                         " holds shards without provenance.json; choose "
                         "another folder"));
  }
  write_file_atomically(path, mine.dump(2) + "\n");
}

}  // namespace

NamedShardsReport write_named_shards(
    const NamedShards& shards,
    const std::function<std::int64_t(std::int64_t, const std::function<void(std::string_view)>&)>&
        write_shard,
    const Progress& progress) {
  claim(shards);
  NamedShardsReport report;
  const auto n = std::ssize(shards.names);
  report.samples.resize(shards.names.size());
  std::mutex mutex;
  std::int64_t done = 0;
  const int threads = shards.threads > 0 ? shards.threads : available_threads();
  parallel_for(n, threads, [&](std::int64_t s) {
    const std::string path = shards.out + "/" + shards.names[static_cast<std::size_t>(s)];
    const bool there = fs::exists(path);
    if (!there) {
      PendingFile file(path);
      (void)write_shard(s, [&](std::string_view bytes) { file.write(bytes); });
      file.write(std::string(1024, '\0'));
      file.commit();
    }
    const IndexSettings settings;
    const ShardIndex index = build_index(path, settings, ShardAccess());
    write_index(index_path(path, settings, ""), index);
    const std::lock_guard lock(mutex);
    report.samples[static_cast<std::size_t>(s)] = static_cast<std::int64_t>(index.header.samples);
    report.kept += there ? 1 : 0;
    report.bytes += static_cast<std::int64_t>(fs::file_size(path));
    if (progress) progress(++done, n);
  });
  ordered_json sizes = ordered_json::object();
  for (std::size_t s = 0; s < shards.names.size(); ++s) sizes[shards.names[s]] = report.samples[s];
  write_file_atomically(shards.out + "/sizes.json", sizes.dump(2) + "\n");
  return report;
}

ShardFolderReport write_shard_folder(
    const ShardFolder& folder,
    const std::function<void(std::int64_t, const std::function<void(std::string_view)>&)>&
        write_sample,
    const Progress& progress) {
  if (folder.samples_per_shard < 1) {
    throw UsageError(str("samples per shard: ", folder.samples_per_shard, " is below 1"));
  }
  const std::int64_t each = folder.samples_per_shard;
  NamedShards shards{folder.out, {}, folder.threads, folder.provenance};
  for (std::int64_t s = 0; s * each < folder.samples; ++s) shards.names.push_back(shard_name(s));
  std::mutex mutex;
  std::int64_t done = 0;
  const auto write_shard = [&](std::int64_t s, const std::function<void(std::string_view)>& sink) {
    const std::int64_t end = std::min(folder.samples, (s + 1) * each);
    for (std::int64_t i = s * each; i < end; ++i) {
      write_sample(i, sink);
      const std::lock_guard lock(mutex);
      if (progress) progress(++done, folder.samples);
    }
    return end - s * each;
  };
  const NamedShardsReport written = write_named_shards(shards, write_shard, {});
  return {std::ssize(shards.names), written.kept, written.bytes};
}

}  // namespace plumbline
