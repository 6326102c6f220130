#include "data/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "plumbline/error.h"

namespace plumbline {

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
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(file_.get(), out.data() + done, out.size() - done,
                              static_cast<off_t>(offset + done));
    if (n == 0) break;
    if (n < 0) {
      if (errno == EINTR) continue;
      throw DataError(
          str("reading ", name_, " at byte ", offset + done, ": ", std::strerror(errno)));
    }
    done += static_cast<std::size_t>(n);
  }
  return done;
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
