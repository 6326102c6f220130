#include "train/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "plumbline/error.h"

namespace plumbline {
namespace {

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

AppendFile::AppendFile(std::string path, Warn warn)
    : path_(std::move(path)), warn_(std::move(warn)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) throw Error(str("cannot write ", path_, ": ", std::strerror(errno)));
}

AppendFile::~AppendFile() { ::close(fd_); }

void AppendFile::append(std::string_view record) {
  const off_t size = ::lseek(fd_, 0, SEEK_END);
  if (write_all(fd_, record)) {
    if (lost_ > 0 && warn_) {
      warn_(str(path_, " can be written again; ", lost_, " records before this one are lost"));
    }
    lost_ = 0;
    return;
  }
  const std::string reason = std::strerror(errno);
  // Half a record would make everything after it unreadable. Shrinking needs no space.
  if (size >= 0 && ::ftruncate(fd_, size) != 0) ::lseek(fd_, 0, SEEK_END);
  if (lost_++ == 0 && warn_) {
    warn_(str("cannot write ", path_, ": ", reason, "; the run goes on, its records are lost"));
  }
}

}  // namespace plumbline
