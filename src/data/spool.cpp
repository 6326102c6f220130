// open_plain(): plain tars are read in place; gzip, zstd and sparse tars go once through libarchive
// into an unnamed temporary file.
#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "data/byte_source.h"
#include "data/shard_access.h"
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

Archive open_archive(const FileBytes& file, bool raw) {
  Archive a(archive_read_new());
  archive_read_support_filter_gzip(a.get());
  archive_read_support_filter_zstd(a.get());
  if (raw) {
    archive_read_support_format_raw(a.get());
  } else {
    archive_read_support_format_tar(a.get());
  }
  // The file may have no name any more; opened again, it is read from its beginning.
  const std::string path = str("/proc/self/fd/", file.descriptor());
  if (archive_read_open_filename(a.get(), path.c_str(), kChunk) != ARCHIVE_OK) {
    fail(file.name(), a.get(), 0);
  }
  return a;
}

/// The uncompressed bytes as they are; what was read before an error is kept, so that the scanner
/// gives the verdict and delivers complete samples, as for a truncated plain tar.
void decompress(const FileBytes& file, SpoolWriter& out) {
  const Archive a = open_archive(file, true);
  archive_entry* entry = nullptr;
  if (archive_read_next_header(a.get(), &entry) != ARCHIVE_OK) fail(file.name(), a.get(), 0);
  std::vector<char> buffer(kChunk);
  for (;;) {
    const la_ssize_t n = archive_read_data(a.get(), buffer.data(), buffer.size());
    if (n <= 0) return;
    out.write({buffer.data(), static_cast<std::size_t>(n)});
  }
}

/// A sparse tar as a plain one.
void rewrite(const FileBytes& file, SpoolWriter& out) {
  const Archive a = open_archive(file, false);
  TarWriter tar([&](std::string_view bytes) { out.write(bytes); });
  archive_entry* entry = nullptr;
  for (;;) {
    const int status = archive_read_next_header(a.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status < ARCHIVE_WARN) fail(file.name(), a.get(), out.written());
    if (archive_entry_filetype(entry) != AE_IFREG) continue;
    const char* name = archive_entry_pathname(entry);
    std::string content(static_cast<std::size_t>(archive_entry_size(entry)), '\0');
    if (archive_read_data(a.get(), content.data(), content.size()) !=
        static_cast<la_ssize_t>(content.size())) {
      fail(file.name(), a.get(), out.written());
    }
    tar.add(name ? name : "", content);
  }
  tar.finish();
}

}  // namespace

std::shared_ptr<const ByteSource> open_plain(std::shared_ptr<const FileBytes> raw,
                                             const ShardAccess& access, bool sparse) {
  std::array<std::uint8_t, 512> first{};
  const std::size_t n = raw->read_at(0, first);
  if (!is_compressed({first.data(), n}) && !sparse) return raw;
  FileDescriptor file = unnamed_file(access.spool_dir);
  SpoolWriter out(file.get(), raw->name(), raw->size());
  if (sparse) {
    rewrite(*raw, out);
  } else {
    decompress(*raw, out);
  }
  return std::make_shared<FileBytes>(std::move(file), raw->name(), true);
}

}  // namespace plumbline
