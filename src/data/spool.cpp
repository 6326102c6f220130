// open_shard(): plain tars are read in place; gzip, zstd and sparse tars go once through libarchive
// into an unnamed temporary file.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "data/byte_source.h"
#include "data/tar_reader.h"
#include "data/tar_writer.h"
#include "plumbline/error.h"
#include "plumbline/handle.h"

namespace plumbline {
namespace {

using Archive = Handle<archive, archive_read_free>;

constexpr std::uint64_t kMaxOutput = std::uint64_t{64} << 30;
constexpr std::uint64_t kMaxRatio = 1000;
constexpr std::size_t kChunk = 1 << 18;

[[noreturn]] void fail(const std::string& path, archive* a, std::uint64_t at) {
  const char* why = archive_error_string(a);
  throw TarError(BadSampleClass::truncated_tar, at,
                 str("decompressing shard ", path, " at byte ", at, ": ", why ? why : "unknown"));
}

/// A file without a name: gone when closed, also after a crash.
FileDescriptor unnamed_file(const std::string& spool_dir) {
  std::string name = (spool_dir.empty() ? std::filesystem::temp_directory_path()
                                        : std::filesystem::path(spool_dir))
                         .string() +
                     "/plumbline-spool-XXXXXX";
  FileDescriptor file(::mkostemp(name.data(), O_CLOEXEC));
  if (file.get() < 0) throw Error(str("cannot create ", name, ": ", std::strerror(errno)));
  ::unlink(name.c_str());
  return file;
}

/// Appends to the temporary file within the limits against decompression bombs.
class SpoolWriter {
 public:
  SpoolWriter(int fd, std::string path, std::uint64_t input)
      : fd_(fd), path_(std::move(path)), limit_(std::min(kMaxOutput, input * kMaxRatio)) {}
  void write(std::string_view bytes) {
    if (written_ + bytes.size() > limit_) {
      throw DataError(str("shard ", path_, " decompresses to more than ", limit_, " bytes"));
    }
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw Error(str("spooling shard ", path_, ": ", std::strerror(errno)));
      written_ += static_cast<std::uint64_t>(n);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  [[nodiscard]] std::uint64_t written() const { return written_; }

 private:
  int fd_;
  std::string path_;
  std::uint64_t limit_;
  std::uint64_t written_ = 0;
};

Archive open_archive(const std::string& path, bool raw) {
  Archive a(archive_read_new());
  archive_read_support_filter_gzip(a.get());
  archive_read_support_filter_zstd(a.get());
  if (raw) {
    archive_read_support_format_raw(a.get());
  } else {
    archive_read_support_format_tar(a.get());
  }
  if (archive_read_open_filename(a.get(), path.c_str(), kChunk) != ARCHIVE_OK) {
    fail(path, a.get(), 0);
  }
  return a;
}

/// The uncompressed bytes as they are; what was read before an error is kept, so that the scanner
/// gives the verdict and delivers complete samples, as for a truncated plain tar.
void decompress(const std::string& path, SpoolWriter& out) {
  const Archive a = open_archive(path, true);
  archive_entry* entry = nullptr;
  if (archive_read_next_header(a.get(), &entry) != ARCHIVE_OK) fail(path, a.get(), 0);
  std::vector<char> buffer(kChunk);
  for (;;) {
    const la_ssize_t n = archive_read_data(a.get(), buffer.data(), buffer.size());
    if (n <= 0) return;
    out.write({buffer.data(), static_cast<std::size_t>(n)});
  }
}

/// A sparse tar as a plain one.
void rewrite(const std::string& path, SpoolWriter& out) {
  const Archive a = open_archive(path, false);
  TarWriter tar([&](std::string_view bytes) { out.write(bytes); });
  archive_entry* entry = nullptr;
  for (;;) {
    const int status = archive_read_next_header(a.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status < ARCHIVE_WARN) fail(path, a.get(), out.written());
    if (archive_entry_filetype(entry) != AE_IFREG) continue;
    const char* name = archive_entry_pathname(entry);
    std::string content(static_cast<std::size_t>(archive_entry_size(entry)), '\0');
    if (archive_read_data(a.get(), content.data(), content.size()) !=
        static_cast<la_ssize_t>(content.size())) {
      fail(path, a.get(), out.written());
    }
    tar.add(name ? name : "", content);
  }
  tar.finish();
}

bool is_compressed(std::span<const std::uint8_t> first) {
  constexpr std::array<std::uint8_t, 2> kGzip = {0x1f, 0x8b};
  constexpr std::array<std::uint8_t, 4> kZstd = {0x28, 0xb5, 0x2f, 0xfd};
  return (first.size() >= 2 && std::equal(kGzip.begin(), kGzip.end(), first.begin())) ||
         (first.size() >= 4 && std::equal(kZstd.begin(), kZstd.end(), first.begin()));
}

}  // namespace

std::shared_ptr<const ByteSource> open_shard(const std::string& path, const std::string& spool_dir,
                                             bool sparse) {
  auto plain = std::make_shared<FileBytes>(path);
  std::array<std::uint8_t, 512> first{};
  const std::size_t n = plain->read_at(0, first);
  const bool compressed = is_compressed({first.data(), n});
  if (!compressed && !sparse) return plain;
  FileDescriptor file = unnamed_file(spool_dir);
  SpoolWriter out(file.get(), path, plain->size());
  if (sparse) {
    rewrite(path, out);
  } else {
    decompress(path, out);
  }
  return std::make_shared<FileBytes>(std::move(file), path, true);
}

}  // namespace plumbline
