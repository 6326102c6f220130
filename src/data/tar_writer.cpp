#include "data/tar_writer.h"

#include <array>
#include <cstdio>
#include <cstring>

#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kNameBytes = 100;

/// "LENGTH path=NAME\n" with LENGTH counting its own digits.
std::string pax_path(const std::string& name) {
  const std::size_t rest = name.size() + sizeof(" path=\n") - 1;
  std::size_t length = rest;
  while (length != rest + std::to_string(length).size()) {
    length = rest + std::to_string(length).size();
  }
  return str(length, " path=", name, "\n");
}

void put_octal(char* field, std::size_t digits, std::uint64_t value) {
  for (std::size_t i = digits; i-- > 0; value >>= 3) {
    field[i] = static_cast<char>('0' + (value & 7));
  }
}

}  // namespace

void TarWriter::write(std::string_view bytes) {
  sink_(bytes);
  size_ += bytes.size();
}

void TarWriter::write_header(const std::string& name, std::uint64_t content_bytes, char type) {
  if (content_bytes >> 33) {
    throw Error(str("tar member ", name, " of ", content_bytes, " bytes is over 8 GiB"));
  }
  std::array<char, kBlock> block{};
  std::memcpy(block.data(), name.data(), std::min(name.size(), kNameBytes));
  put_octal(block.data() + 100, 7, 0644);
  put_octal(block.data() + 108, 7, 0);
  put_octal(block.data() + 116, 7, 0);
  put_octal(block.data() + 124, 11, content_bytes);
  put_octal(block.data() + 136, 11, 0);
  std::memset(block.data() + 148, ' ', 8);
  block[156] = type;
  std::memcpy(block.data() + 257,
              "ustar\0"
              "00",
              8);
  std::uint64_t sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put_octal(block.data() + 148, 6, sum);
  block[154] = '\0';
  write({block.data(), block.size()});
}

void TarWriter::write_padding(std::uint64_t content_bytes) {
  static constexpr std::array<char, kBlock> kZeros{};
  const std::uint64_t over = content_bytes % kBlock;
  if (over != 0) write({kZeros.data(), kBlock - over});
}

void TarWriter::add(const std::string& name, std::string_view content) {
  if (name.size() > kNameBytes) {
    const std::string pax = pax_path(name);
    write_header("pax", pax.size(), 'x');
    write(pax);
    write_padding(pax.size());
  }
  write_header(name, content.size(), '0');
  write(content);
  write_padding(content.size());
}

void TarWriter::finish() { write(std::string(2 * kBlock, '\0')); }

}  // namespace plumbline
