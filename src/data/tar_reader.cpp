#include "data/tar_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>
#include <vector>

namespace plumbline {
namespace {

constexpr std::uint64_t kBlock = 512;
constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 40;
constexpr std::uint64_t kMaxExtension = 1 << 20;  // a pax header or long name
constexpr std::uint64_t kTrailing = 1 << 20;

using Block = std::array<std::uint8_t, kBlock>;

std::uint64_t padded(std::uint64_t size) { return (size + kBlock - 1) / kBlock * kBlock; }

std::string_view field(const Block& block, std::size_t begin, std::size_t length) {
  const auto* text = reinterpret_cast<const char*>(block.data() + begin);
  return {text, ::strnlen(text, length)};
}

bool is_zero(const Block& block) {
  return std::all_of(block.begin(), block.end(), [](std::uint8_t b) { return b == 0; });
}

/// Octal digits between blanks, or base 256 when the top bit of the first byte is set. Nothing when
/// malformed or negative.
std::optional<std::uint64_t> parse_number(const Block& block, std::size_t begin,
                                          std::size_t length) {
  const std::uint8_t* p = block.data() + begin;
  if (p[0] & 0x80) {
    if (p[0] != 0x80) return std::nullopt;  // negative, or beyond 2^88
    std::uint64_t value = 0;
    for (std::size_t i = 1; i < length; ++i) {
      if (value >> 56) return std::nullopt;
      value = value << 8 | p[i];
    }
    return value;
  }
  std::size_t i = 0;
  while (i < length && p[i] == ' ') ++i;
  std::uint64_t value = 0;
  for (; i < length && p[i] >= '0' && p[i] <= '7'; ++i) value = value << 3 | (p[i] - '0');
  for (; i < length; ++i) {
    if (p[i] != ' ' && p[i] != 0) return std::nullopt;
  }
  return value;
}

/// Historic tars summed signed characters.
bool checksum_is_right(const Block& block) {
  const std::optional<std::uint64_t> expected = parse_number(block, 148, 8);
  if (!expected) return false;
  std::int64_t as_unsigned = 8 * ' ';
  std::int64_t as_signed = 8 * ' ';
  for (std::size_t i = 0; i < kBlock; ++i) {
    if (i >= 148 && i < 156) continue;
    as_unsigned += block[i];
    as_signed += static_cast<std::int8_t>(block[i]);
  }
  const auto wanted = static_cast<std::int64_t>(*expected);
  return wanted == as_unsigned || wanted == as_signed;
}

/// Links, devices, directories and FIFOs carry no data whatever their size says.
bool carries_data(char type) { return type < '1' || type > '6'; }

}  // namespace

struct TarReader::Header {
  Block block;
  char type;
  std::uint64_t size;
};

/// What extension headers say about the member that follows them.
struct TarReader::Pending {
  std::optional<std::string> path;
  std::optional<std::uint64_t> size;
  bool global = false;
};

TarReader::TarReader(const ByteSource& source, TarEnd end) : source_(source), end_(end) {}

void TarReader::fail(BadSampleClass reason, const std::string& why) const {
  throw TarError(reason, offset_,
                 str("reading shard ", source_.name(), " at byte ", offset_, ": ", why));
}

void TarReader::check_end() {
  Block next;
  const std::size_t n = source_.read_at(offset_ + kBlock, next);
  if (n == 0) return;
  if (n < kBlock) fail(BadSampleClass::truncated_tar, "the second end block is cut");
  if (!is_zero(next)) {
    fail(BadSampleClass::bad_header, "one zero block, then something that is not the end");
  }
  std::vector<std::uint8_t> rest(std::min(kTrailing, source_.size() - offset_ - 2 * kBlock));
  rest.resize(source_.read_at(offset_ + 2 * kBlock, rest));
  trailing_bytes_ = std::any_of(rest.begin(), rest.end(), [](std::uint8_t b) { return b != 0; });
}

bool TarReader::read_header(Header& header) {
  const std::size_t n = source_.read_at(offset_, header.block);
  if (n == 0) {
    if (end_ == TarEnd::at_size) return false;
    fail(BadSampleClass::truncated_tar, "the file ends without end blocks (truncated)");
  }
  if (n < kBlock) {
    fail(BadSampleClass::truncated_tar, str("the file ends ", n, " bytes into a header"));
  }
  if (is_zero(header.block)) {
    check_end();
    return false;
  }
  if (!checksum_is_right(header.block)) {
    fail(BadSampleClass::bad_header, "header with a wrong checksum");
  }
  header.type = static_cast<char>(header.block[156]);
  const std::optional<std::uint64_t> size = parse_number(header.block, 124, 12);
  if (!size || *size > kMaxSize) {
    fail(BadSampleClass::bad_header, "header with a size that is no number in 0..2^40");
  }
  header.size = *size;
  return true;
}

std::string TarReader::read_data(const Header& header, const char* what) {
  if (header.size > kMaxExtension) {
    fail(BadSampleClass::bad_header, str(what, " of ", header.size, " bytes, more than 1 MiB"));
  }
  std::string data(header.size, '\0');
  const std::span<std::uint8_t> out(reinterpret_cast<std::uint8_t*>(data.data()), data.size());
  if (source_.read_at(offset_ + kBlock, out) < data.size()) {
    fail(BadSampleClass::truncated_tar, str("the file ends inside a ", what));
  }
  offset_ += kBlock + padded(header.size);
  return data;
}

/// Records "LENGTH KEY=VALUE\n", LENGTH counting itself (POSIX.1-2001, pax interchange format).
void TarReader::read_pax(const std::string& records, Pending& pending) {
  std::string_view rest = records;
  while (!rest.empty() && rest[0] != '\0') {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
    const auto digits = static_cast<std::size_t>(end - rest.data());
    if (error != std::errc() || digits >= rest.size() || rest[digits] != ' ' ||
        length > rest.size() || length < digits + 3 || rest[length - 1] != '\n') {
      fail(BadSampleClass::bad_header, "malformed pax header before this byte");
    }
    const std::string_view record = rest.substr(digits + 1, length - digits - 2);
    rest.remove_prefix(length);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos) {
      fail(BadSampleClass::bad_header, "pax record without '=' before this byte");
    }
    const std::string_view key = record.substr(0, equals);
    const std::string_view value = record.substr(equals + 1);
    if (key.starts_with("GNU.sparse.")) {
      fail(BadSampleClass::unsupported, "sparse member");
    } else if (key == "path") {
      (pending.global ? global_path_ : pending.path) = std::string(value);
    } else if (key == "size") {
      std::uint64_t size = 0;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), size);
      if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() ||
          size > kMaxSize) {
        fail(BadSampleClass::bad_header, "pax size that is no number in 0..2^40 before this byte");
      }
      (pending.global ? global_size_ : pending.size) = size;
    }
  }
}

void TarReader::skip_data(std::uint64_t size) {
  if (source_.size() - offset_ < size) {
    fail(BadSampleClass::truncated_tar,
         str("the file ends inside the data of a member (", size, " bytes)"));
  }
  // The padding of the very last member may be cut: then the next header is missing, which is seen.
  offset_ += std::min(padded(size), source_.size() - offset_);
}

Member TarReader::finish(const Header& header, const Pending& pending, std::uint64_t first_header) {
  Member member;
  // Only POSIX ustar has a prefix; GNU keeps times in its place.
  const bool posix = std::memcmp(header.block.data() + 257, "ustar\0", 6) == 0;
  const std::string_view prefix = posix ? field(header.block, 345, 155) : std::string_view();
  if (pending.path) {
    member.name = *pending.path;
  } else if (global_path_) {
    member.name = *global_path_;
  } else {
    member.name = prefix;
    if (!prefix.empty()) member.name += '/';
    member.name += field(header.block, 0, 100);
  }
  if (carries_data(header.type)) {
    member.size = pending.size ? *pending.size : global_size_ ? *global_size_ : header.size;
  }
  member.regular = (header.type == '0' || header.type == '\0' || header.type == '7') &&
                   !member.name.ends_with('/');
  member.header_offset = first_header;
  offset_ += kBlock;
  member.data_offset = offset_;
  skip_data(member.size);
  return member;
}

std::optional<Member> TarReader::next() {
  Pending pending;
  Header header{};
  const std::uint64_t first_header = offset_;
  bool extended = false;
  while (read_header(header)) {
    switch (header.type) {
      case 'L': {
        std::string name = read_data(header, "long name");
        name.resize(::strnlen(name.c_str(), name.size()));
        pending.path = std::move(name);
        break;
      }
      case 'K':
        (void)read_data(header, "long link name");
        break;
      case 'x':
        pending.global = false;
        read_pax(read_data(header, "pax header"), pending);
        break;
      case 'g':
        pending.global = true;
        read_pax(read_data(header, "pax header"), pending);
        break;
      case 'S':
        fail(BadSampleClass::unsupported, "sparse member");
      default:
        return finish(header, pending, first_header);
    }
    extended = true;
  }
  if (extended) fail(BadSampleClass::truncated_tar, "the file ends after an extension header");
  return std::nullopt;
}

bool looks_like_tar(std::span<const std::uint8_t> first_block) {
  if (first_block.size() < kBlock) return false;
  Block block;
  std::copy_n(first_block.begin(), kBlock, block.begin());
  return is_zero(block) || checksum_is_right(block);
}

}  // namespace plumbline
