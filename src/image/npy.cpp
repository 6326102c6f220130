#include "image/npy.h"

#include <bit>
#include <cstring>

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

static_assert(std::endian::native == std::endian::little, "the header promises little endian");

std::string header_of(std::span<const std::int64_t> shape) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (const std::int64_t side : shape) text += str(side, ",");
  text += "), }";
  constexpr std::size_t kPrefix = 10;
  text.append(63 - (kPrefix + text.size()) % 64, ' ');
  text += '\n';
  const auto length = static_cast<std::uint16_t>(text.size());
  std::string prefix = "\x93NUMPY";
  prefix += {'\x01', '\x00', static_cast<char>(length & 0xff), static_cast<char>(length >> 8)};
  return prefix + text;
}

}  // namespace

void write_npy(const std::string& path, std::span<const float> values,
               std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t side : shape) count *= side;
  require(count == static_cast<std::int64_t>(values.size()), "write_npy: shape and values differ");
  std::string content = header_of(shape);
  const std::size_t start = content.size();
  content.resize(start + values.size_bytes());
  if (!values.empty()) std::memcpy(content.data() + start, values.data(), values.size_bytes());
  write_file_atomically(path, content);
}

}  // namespace plumbline
