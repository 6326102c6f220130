#include "core/file.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "plumbline/error.h"
#include "plumbline/handle.h"

namespace plumbline {
namespace {

using File = Handle<FILE, std::fclose>;

std::string reason() { return std::strerror(errno); }

void write_all(const std::string& path, std::string_view content) {
  File file(std::fopen(path.c_str(), "wb"));
  if (!file) throw Error(str("cannot create ", path, ": ", reason()));
  if (std::fwrite(content.data(), 1, content.size(), file.get()) != content.size() ||
      std::fflush(file.get()) != 0 || ::fsync(::fileno(file.get())) != 0) {
    throw Error(str("cannot write ", path, " (", content.size(), " bytes): ", reason()));
  }
}

}  // namespace

std::string read_file(const std::string& path) {
  File file(std::fopen(path.c_str(), "rb"));
  if (!file) throw DataError(str("cannot open ", path, ": ", reason()));
  std::string content;
  std::array<char, 1 << 16> buffer{};
  for (;;) {
    const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), file.get());
    content.append(buffer.data(), n);
    if (n < buffer.size()) break;
  }
  if (std::ferror(file.get())) {
    throw DataError(str("cannot read ", path, " at byte ", content.size(), ": ", reason()));
  }
  return content;
}

void sync_folder(const std::string& path) {
  const int fd = ::open(path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw Error(str("cannot open folder ", path, ": ", reason()));
  const int failed = ::fsync(fd);
  const std::string why = reason();
  ::close(fd);
  if (failed != 0) throw Error(str("cannot sync folder ", path, ": ", why));
}

void write_file_atomically(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  try {
    write_all(temporary, content);
    if (std::rename(temporary.c_str(), path.c_str()) != 0) {
      throw Error(str("cannot rename ", temporary, " to ", path, ": ", reason()));
    }
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(std::filesystem::path(path).parent_path().string());
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  std::string hex;
  for (const unsigned char byte : digest) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

}  // namespace plumbline
