// Bytes that can be read at any offset: a plain file, memory, or what a compressed shard holds.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace plumbline {

/// A file descriptor that closes itself.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_ = -1;
};

/// Immutable bytes; reading is safe from many threads at once.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  /// Fills `out` from `offset`; returns fewer bytes only at the end. Throws DataError naming the
  /// source and the byte when the system fails.
  [[nodiscard]] virtual std::size_t read_at(std::uint64_t offset,
                                            std::span<std::uint8_t> out) const = 0;
  /// For messages.
  [[nodiscard]] virtual const std::string& name() const = 0;
  /// Whether the bytes take disk of their own while this object lives.
  [[nodiscard]] virtual bool temporary() const { return false; }
};

/// A file, or an unnamed temporary one that stands for `name`.
class FileBytes final : public ByteSource {
 public:
  /// Throws DataError when the file cannot be opened.
  explicit FileBytes(const std::string& path);
  FileBytes(FileDescriptor file, std::string name, bool temporary = false);
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] std::size_t read_at(std::uint64_t offset,
                                    std::span<std::uint8_t> out) const override;
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] bool temporary() const override { return temporary_; }
  [[nodiscard]] int descriptor() const { return file_.get(); }

 private:
  FileDescriptor file_;
  std::string name_;
  bool temporary_ = false;
  std::uint64_t size_ = 0;
};

/// Memory that somebody else owns.
class MemoryBytes final : public ByteSource {
 public:
  MemoryBytes(std::span<const std::uint8_t> bytes, const std::string& name)
      : bytes_(bytes), name_(name) {}
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] std::size_t read_at(std::uint64_t offset,
                                    std::span<std::uint8_t> out) const override;
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  std::span<const std::uint8_t> bytes_;
  const std::string& name_;
};

/// A piece of another source; offsets count from its beginning. Reads through, keeps nothing.
class WindowBytes final : public ByteSource {
 public:
  /// `whole` outlives the window and holds all of it.
  WindowBytes(const ByteSource& whole, std::uint64_t offset, std::uint64_t size)
      : whole_(whole), offset_(offset), size_(size) {}
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] std::size_t read_at(std::uint64_t offset,
                                    std::span<std::uint8_t> out) const override;
  [[nodiscard]] const std::string& name() const override { return whole_.name(); }

 private:
  const ByteSource& whole_;
  std::uint64_t offset_, size_;
};

/// A file without a name in `folder` (empty: the system's): gone when closed, also after a crash.
/// Throws Error when it cannot be created.
[[nodiscard]] FileDescriptor unnamed_file(const std::string& folder);

/// Fills `out` from `offset` of a file. Throws DataError naming `name` and the byte when the system
/// fails or the file ends before.
void read_exactly(int fd, std::uint64_t offset, std::span<std::uint8_t> out,
                  const std::string& name);

/// Whether a file that begins with these bytes is gzip or zstd.
[[nodiscard]] bool is_compressed(std::span<const std::uint8_t> first);

}  // namespace plumbline
