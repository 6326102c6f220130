#include "data/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "plumbline/error.h"

namespace plumbline {
namespace {

std::size_t read_some(int fd, std::uint64_t offset, std::span<std::uint8_t> out,
                      const std::string& name) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n =
        ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n == 0) break;
    if (n < 0) {
      if (errno == EINTR) continue;
      throw DataError(
          str("reading ", name, " at byte ", offset + done, ": ", std::strerror(errno)));
    }
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace

void read_exactly(int fd, std::uint64_t offset, std::span<std::uint8_t> out,
                  const std::string& name) {
  if (const std::size_t n = read_some(fd, offset, out, name); n < out.size()) {
    throw DataError(str("reading ", name, ": the file ends at byte ", offset + n));
  }
}

FileDescriptor unnamed_file(const std::string& folder) {
  std::string name =
      (folder.empty() ? std::filesystem::temp_directory_path() : std::filesystem::path(folder))
          .string() +
      "/plumbline-spool-XXXXXX";
  FileDescriptor file(::mkostemp(name.data(), O_CLOEXEC));
  if (file.get() < 0) throw Error(str("cannot create ", name, ": ", std::strerror(errno)));
  ::unlink(name.c_str());
  return file;
}

bool is_compressed(std::span<const std::uint8_t> first) {
  constexpr std::array<std::uint8_t, 2> kGzip = {0x1f, 0x8b};
  constexpr std::array<std::uint8_t, 4> kZstd = {0x28, 0xb5, 0x2f, 0xfd};
  return (first.size() >= 2 && std::equal(kGzip.begin(), kGzip.end(), first.begin())) ||
         (first.size() >= 4 && std::equal(kZstd.begin(), kZstd.end(), first.begin()));
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

FileBytes::FileBytes(const std::string& path)
    : FileBytes(FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), path) {}

FileBytes::FileBytes(FileDescriptor file, std::string name, bool temporary)
    : file_(std::move(file)), name_(std::move(name)), temporary_(temporary) {
  if (file_.get() < 0) throw DataError(str("cannot open ", name_, ": ", std::strerror(errno)));
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0) {
    throw DataError(str("cannot stat ", name_, ": ", std::strerror(errno)));
  }
  size_ = static_cast<std::uint64_t>(info.st_size);
}

std::size_t FileBytes::read_at(std::uint64_t offset, std::span<std::uint8_t> out) const {
  return read_some(file_.get(), offset, out, name_);
}

std::size_t WindowBytes::read_at(std::uint64_t offset, std::span<std::uint8_t> out) const {
  if (offset >= size_) return 0;
  return whole_.read_at(offset_ + offset, out.first(std::min(out.size(), size_ - offset)));
}

std::size_t MemoryBytes::read_at(std::uint64_t offset, std::span<std::uint8_t> out) const {
  if (offset >= bytes_.size()) return 0;
  const std::size_t n = std::min<std::size_t>(out.size(), bytes_.size() - offset);
  std::memcpy(out.data(), bytes_.data() + offset, n);
  return n;
}

}  // namespace plumbline
