#include "data/shard_index.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <unordered_set>

#include "core/file.h"
#include "data/siphash.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::array<char, 8> kMagic = {'P', 'L', 'B', 'I', 'D', 'X', '\r', '\n'};
constexpr std::uint64_t kVersion = 2;
constexpr std::uint64_t kMaxSampleBytes = 256 << 20;
constexpr std::size_t kMaxMembers = 64;

struct FileStamp {
  std::uint64_t bytes;
  std::int64_t mtime_ns;
};

/// Nothing is known of a remote shard but what a copy holds.
FileStamp stamp_of(const std::string& path) {
  if (is_pipe(path)) return {};
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    throw DataError(str("cannot stat shard ", path, ": ", std::strerror(errno)));
  }
  return {static_cast<std::uint64_t>(info.st_size),
          info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
}

std::optional<BadSampleClass> text_problem(const SampleGroup& group,
                                           const IndexSettings& settings) {
  if (!settings.text) return std::nullopt;
  bool present = false;
  for (const std::string& key : settings.text_keys) {
    const GroupMember* member = group.find(key);
    if (member && member->size > 0) return std::nullopt;
    present = present || member;
  }
  if (settings.json && group.find("json")) return std::nullopt;
  return present ? BadSampleClass::empty_text : BadSampleClass::no_text;
}

/// What a header scan can know against a sample.
std::optional<BadSampleClass> problem_of(const SampleGroup& group, const IndexSettings& settings) {
  if (group.members.size() > kMaxMembers || group.end - group.offset > kMaxSampleBytes) {
    return BadSampleClass::too_large;
  }
  if (!group.find(settings.image_keys)) return BadSampleClass::no_image;
  return text_problem(group, settings);
}

std::uint32_t narrow(std::uint64_t value) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, UINT32_MAX));
}

IndexRecord make_record(const SampleGroup& group, const IndexSettings& settings,
                        std::uint64_t ordinal) {
  IndexRecord record;
  record.key_hash = siphash(group.key);
  record.offset = group.offset;
  record.bytes = narrow(group.end - group.offset);
  if (const GroupMember* image = group.find(settings.image_keys)) {
    record.image_offset = narrow(image->offset - group.offset);
    record.image_bytes = narrow(image->size);
  }
  if (const GroupMember* text = group.find(settings.text_keys)) {
    record.text_bytes = narrow(text->size);
  }
  if (const GroupMember* json = group.find("json")) record.json_bytes = narrow(json->size);
  record.ordinal = narrow(ordinal);
  record.members =
      static_cast<std::uint16_t>(std::min<std::size_t>(group.members.size(), UINT16_MAX));
  if (const auto problem = problem_of(group, settings)) {
    record.bad = static_cast<std::uint16_t>(1 + static_cast<int>(*problem));
  }
  return record;
}

void scan(const ByteSource& source, const IndexSettings& settings, ShardIndex& index) {
  TarReader tar(source);
  GroupReader groups(tar);
  std::unordered_set<std::uint64_t> seen;
  std::uint64_t previous = 0;
  try {
    while (const std::optional<SampleGroup> group = groups.next()) {
      const IndexRecord record = make_record(*group, settings, index.records.size());
      if (!seen.insert(record.key_hash).second &&
          (index.records.empty() || record.key_hash != previous)) {
        ++index.header.split_keys;
      }
      previous = record.key_hash;
      index.records.push_back(record);
    }
    index.header.end_offset = tar.end_offset();
    index.header.trailing_bytes = tar.trailing_bytes() ? 1 : 0;
  } catch (const TarError& error) {
    if (error.reason() == BadSampleClass::unsupported) throw;
    index.header.verdict = error.reason() == BadSampleClass::truncated_tar
                               ? ShardVerdict::truncated_tar
                               : ShardVerdict::bad_header;
    index.header.end_offset = error.byte();
  }
  index.header.members = groups.members();
}

std::string settings_text(const IndexSettings& settings) {
  std::string words = settings.text ? "text" : "none";
  if (settings.json) words += " json";
  for (const std::string& key : settings.image_keys) words += str("\nimage ", key);
  if (!settings.text) return words;
  for (const std::string& key : settings.text_keys) words += str("\ntext ", key);
  return words;
}

std::string hex(std::uint64_t value, int digits) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return std::string(text.data(), static_cast<std::size_t>(digits));
}

/// The end of a command as part of a file's name.
std::string safe_name(std::string text) {
  for (char& c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == '_';
    if (!plain) c = '_';
  }
  return text.substr(0, 80);
}

}  // namespace

std::uint64_t IndexSettings::hash() const {
  static const std::string usual = settings_text(IndexSettings());
  const std::string mine = settings_text(*this);
  return mine == usual ? 0 : siphash(mine);
}

void finish_index(ShardIndex& index) {
  auto& records = index.records;
  std::sort(records.begin(), records.end(),
            [](const IndexRecord& a, const IndexRecord& b) { return a.ordinal < b.ordinal; });
  IndexHeader& header = index.header;
  header.samples = records.size();
  header.by_class = {};
  std::string content;
  content.reserve(records.size() * 9);
  for (const IndexRecord& record : records) {
    content.append(reinterpret_cast<const char*>(&record.key_hash), 8);
    content += static_cast<char>(record.bad);
    if (record.bad != 0) ++header.by_class[record.bad - 1U];
  }
  header.content_hash = siphash(content);
  const auto bad = std::stable_partition(records.begin(), records.end(),
                                         [](const IndexRecord& r) { return r.bad == 0; });
  header.valid = static_cast<std::uint64_t>(bad - records.begin());
}

ShardIndex build_index(const std::string& path, const IndexSettings& settings,
                       const ShardAccess& access, std::shared_ptr<const FileBytes> raw) {
  const FileStamp stamp = stamp_of(path);
  if (!raw) raw = open_raw(path, access);
  ShardIndex index;
  try {
    scan(*open_plain(raw, access, false), settings, index);
  } catch (const TarError& error) {
    index = ShardIndex();
    if (error.reason() == BadSampleClass::unsupported) {
      scan(*open_plain(raw, access, true), settings, index);
      index.header.sparse = 1;
    } else {  // compressed bytes that do not even begin
      index.header.verdict = ShardVerdict::truncated_tar;
      index.header.end_offset = error.byte();
    }
  }
  index.header.magic = kMagic;
  index.header.version = kVersion;
  index.header.shard_bytes = is_pipe(path) ? raw->size() : stamp.bytes;
  index.header.shard_mtime_ns = stamp.mtime_ns;
  index.header.settings = settings.hash();
  std::array<std::uint8_t, 4> first{};
  index.header.compressed = is_compressed({first.data(), raw->read_at(0, first)}) ? 1 : 0;
  if (is_pipe(path)) index.block_hashes = block_hashes(*raw);
  index.header.blocks = index.block_hashes.size();
  finish_index(index);
  return index;
}

std::string index_path(const std::string& shard, const IndexSettings& settings,
                       const std::string& index_dir) {
  namespace fs = std::filesystem;
  std::string name = shard;
  if (is_pipe(shard)) {
    if (index_dir.empty()) return "";
    name = (fs::path(index_dir) / safe_name(fs::path(shard).filename().string())).string() + "." +
           hex(siphash(shard), 16);
  } else if (!index_dir.empty()) {
    const fs::path absolute = fs::absolute(shard).lexically_normal();
    name = (fs::path(index_dir) / absolute.filename()).string() + "." +
           hex(siphash(absolute.parent_path().string()), 8);
  }
  const std::uint64_t hash = settings.hash();
  return hash == 0 ? name + ".idx" : name + "." + hex(hash, 8) + ".idx";
}

void write_index(const std::string& path, const ShardIndex& index) {
  static std::atomic<unsigned> serial{0};
  // Ranks may index the same shard at the same time: each writes a file of its own.
  const std::string temporary = str(path, ".", ::getpid(), ".", serial++, ".tmp");
  std::string content(reinterpret_cast<const char*>(&index.header), sizeof index.header);
  content.append(reinterpret_cast<const char*>(index.records.data()),
                 index.records.size() * sizeof(IndexRecord));
  content.append(reinterpret_cast<const char*>(index.block_hashes.data()),
                 index.block_hashes.size() * sizeof(std::uint64_t));
  FileDescriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  std::string_view rest = content;
  bool failed = file.get() < 0;
  while (!failed && !rest.empty()) {
    const ssize_t n = ::write(file.get(), rest.data(), rest.size());
    failed = n < 0;
    if (!failed) rest.remove_prefix(static_cast<std::size_t>(n));
  }
  if (failed || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const std::string why = std::strerror(errno);
    ::unlink(temporary.c_str());
    throw Error(str("cannot write index ", path, ": ", why));
  }
}

IndexedShard::IndexedShard(std::string path, const IndexSettings& settings,
                           const std::string& index_dir, std::shared_ptr<const ShardAccess> access,
                           bool write)
    : path_(std::move(path)),
      index_path_(index_path(path_, settings, index_dir)),
      access_(std::move(access)) {
  if (!index_path_.empty() && read_header(settings)) return;
  ShardIndex index = build_index(path_, settings, *access_);
  header_ = index.header;
  unwritten_ = write && index_path_.empty();
  if (write && !unwritten_) {
    try {
      write_index(index_path_, index);
      return;
    } catch (const Error&) {
      unwritten_ = true;  // a read-only folder is no reason to stop
    }
  }
  in_memory_ = true;
  records_ = std::move(index.records);
  block_hashes_ = std::move(index.block_hashes);
}

std::optional<IndexedShard> IndexedShard::find(std::string path, const IndexSettings& settings,
                                               const std::string& index_dir,
                                               std::shared_ptr<const ShardAccess> access) {
  std::string index = index_path(path, settings, index_dir);
  IndexedShard shard(std::move(path), std::move(index), std::move(access));
  if (shard.index_path_.empty() || !shard.read_header(settings)) return std::nullopt;
  return shard;
}

bool IndexedShard::read_header(const IndexSettings& settings) {
  const FileStamp stamp = stamp_of(path_);
  if (::access(index_path_.c_str(), R_OK) != 0) return false;
  const FileBytes file(index_path_);
  const std::span<std::uint8_t> out(reinterpret_cast<std::uint8_t*>(&header_), sizeof header_);
  return file.read_at(0, out) == out.size() && header_.magic == kMagic &&
         header_.version == kVersion && header_.settings == settings.hash() &&
         (is_pipe(path_) || header_.shard_bytes == stamp.bytes) &&
         header_.shard_mtime_ns == stamp.mtime_ns &&
         file.size() == sizeof header_ + header_.samples * sizeof(IndexRecord) +
                            header_.blocks * sizeof(std::uint64_t);
}

void IndexedShard::read(std::uint64_t first, std::uint64_t count,
                        std::vector<IndexRecord>& out) const {
  require(first + count <= header_.samples, "index records out of range");
  if (in_memory_) {
    const auto begin = records_.begin() + static_cast<std::ptrdiff_t>(first);
    out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(count));
    return;
  }
  const FileBytes file(index_path_);
  IndexHeader now;
  const std::size_t old = out.size();
  out.resize(old + count);
  const std::span<std::uint8_t> head(reinterpret_cast<std::uint8_t*>(&now), sizeof now);
  const std::span<std::uint8_t> body(reinterpret_cast<std::uint8_t*>(out.data() + old),
                                     count * sizeof(IndexRecord));
  if (file.read_at(0, head) < head.size() || std::memcmp(&now, &header_, sizeof now) != 0 ||
      file.read_at(sizeof now + first * sizeof(IndexRecord), body) < body.size()) {
    throw DataError(str("index ", index_path_, " changed while it was in use"));
  }
}

RemoteStamp IndexedShard::remote_stamp() const {
  RemoteStamp stamp{header_.shard_bytes, block_hashes_};
  if (in_memory_) return stamp;
  const FileBytes file(index_path_);
  stamp.hashes.resize(header_.blocks);
  const std::span<std::uint8_t> out(reinterpret_cast<std::uint8_t*>(stamp.hashes.data()),
                                    header_.blocks * sizeof(std::uint64_t));
  if (file.read_at(sizeof header_ + header_.samples * sizeof(IndexRecord), out) < out.size()) {
    throw DataError(str("index ", index_path_, " changed while it was in use"));
  }
  return stamp;
}

std::shared_ptr<const ByteSource> IndexedShard::open() const {
  if (!is_pipe(path_)) return open_shard(path_, *access_, header_.sparse != 0);
  RemoteStamp stamp = remote_stamp();
  RemoteShard remote = access_->remote(path_);
  if (access_->ranges && remote.seekable() && header_.sparse == 0 && header_.compressed == 0) {
    return std::make_shared<RangeBytes>(std::move(remote), std::move(stamp), access_->ranges,
                                        access_->stop.get_token());
  }
  return open_plain(open_raw(path_, *access_, &stamp), *access_, header_.sparse != 0);
}

}  // namespace plumbline
