#include "data/utf8.h"

#include <cstdint>

#include "text/utf8.h"

namespace plumbline {
namespace {

std::uint8_t byte(std::string_view text, std::size_t i) {
  return static_cast<std::uint8_t>(text[i]);
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

std::size_t last_start(std::string_view text) {
  std::size_t i = text.size() - 1;
  while (i > 0 && (byte(text, i) & 0xc0) == 0x80) --i;
  return i;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    if (!point.valid) return false;
    i += point.length;
  }
  return true;
}

std::string_view cut_utf8(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (byte(text, bytes) & 0xc0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

std::string_view strip(std::string_view text) {
  while (!text.empty()) {
    const CodePoint point = code_point_at(text, 0);
    if (!point.valid || !is_space(point.value)) break;
    text.remove_prefix(point.length);
  }
  while (!text.empty()) {
    const CodePoint point = code_point_at(text, last_start(text));
    if (!point.valid || !is_space(point.value)) break;
    text.remove_suffix(point.length);
  }
  return text;
}

}  // namespace plumbline
