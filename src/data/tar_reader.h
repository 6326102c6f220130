// Our scanner of plain tar: it exists for offsets, which libarchive does not give. Reads ustar
// (with prefix), pax headers (path, size), GNU long names and base-256 sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "data/byte_source.h"
#include "plumbline/bad_sample.h"
#include "plumbline/error.h"

namespace plumbline {

/// Why a scan ended early. `reason` is truncated_tar, bad_header or unsupported (sparse member).
class TarError : public DataError {
 public:
  TarError(BadSampleClass reason, std::uint64_t byte, const std::string& what)
      : DataError(what), reason_(reason), byte_(byte) {}
  [[nodiscard]] BadSampleClass reason() const { return reason_; }
  [[nodiscard]] std::uint64_t byte() const { return byte_; }

 private:
  BadSampleClass reason_;
  std::uint64_t byte_;
};

struct Member {
  std::string name;
  std::uint64_t header_offset = 0;  ///< of the first header that belongs to it (pax, long name)
  std::uint64_t data_offset = 0;
  std::uint64_t size = 0;  ///< of the data; 0 for links, directories and devices
  bool regular = false;
};

/// What must stand at the end.
enum class TarEnd {
  zero_blocks,  ///< a whole shard: two zero blocks, or one and the end of the file
  at_size,      ///< a piece of a shard: the end at a member border is right
};

/// Members in order; skips over their data without reading it.
class TarReader {
 public:
  /// `source` must outlive the reader.
  explicit TarReader(const ByteSource& source, TarEnd end = TarEnd::zero_blocks);
  /// The next member, or nothing at a correct end. Throws TarError naming shard and byte for a
  /// truncated shard (also one without end blocks), a wrong checksum, a size below 0 or above 2^40,
  /// a malformed pax header, a sparse member.
  [[nodiscard]] std::optional<Member> next();
  /// After the end: where the end blocks begin.
  [[nodiscard]] std::uint64_t end_offset() const { return offset_; }
  /// After the end: whether bytes other than zero follow the end blocks (at most 1 MiB is looked
  /// at).
  [[nodiscard]] bool trailing_bytes() const { return trailing_bytes_; }

 private:
  struct Header;
  struct Pending;
  [[nodiscard]] bool read_header(Header& header);
  void check_end();
  [[nodiscard]] std::string read_data(const Header& header, const char* what);
  void read_pax(const std::string& records, Pending& pending);
  [[nodiscard]] Member finish(const Header& header, const Pending& pending,
                              std::uint64_t first_header);
  void skip_data(std::uint64_t size);
  [[noreturn]] void fail(BadSampleClass reason, const std::string& why) const;

  const ByteSource& source_;
  TarEnd end_;
  std::uint64_t offset_ = 0;
  std::optional<std::string> global_path_;
  std::optional<std::uint64_t> global_size_;
  bool trailing_bytes_ = false;
};

/// Whether these first bytes of a file can begin a plain tar: a header with a right checksum, or a
/// zero block.
[[nodiscard]] bool looks_like_tar(std::span<const std::uint8_t> first_block);

}  // namespace plumbline
