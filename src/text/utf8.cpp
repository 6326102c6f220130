#include "text/utf8.h"

#include <stdexcept>

#include "plumbline/error.h"

namespace plumbline {
namespace {

unsigned byte_at(std::string_view bytes, std::size_t i) {
  return static_cast<unsigned char>(bytes[i]);
}

/// What may follow a lead byte: how many bytes, and the range of the first of them.
struct Lead {
  std::size_t trail;
  unsigned low, high;
};

Lead lead_of(unsigned byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

CodePoint code_point_at(std::string_view bytes, std::size_t position) {
  const unsigned first = byte_at(bytes, position);
  if (first < 0x80) return {first, 1, true};
  const Lead lead = lead_of(first);
  if (lead.trail == 0) return {0, 1, false};
  char32_t value = first & (0x3FU >> lead.trail);
  for (std::size_t k = 1; k <= lead.trail; ++k) {
    if (position + k >= bytes.size()) return {0, k, false};
    const unsigned byte = byte_at(bytes, position + k);
    const bool fits = k == 1 ? byte >= lead.low && byte <= lead.high : (byte & 0xC0U) == 0x80;
    if (!fits) return {0, k, false};
    value = value << 6 | (byte & 0x3FU);
  }
  return {value, lead.trail + 1, true};
}

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string text;
  text.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    const CodePoint c = code_point_at(bytes, i);
    if (!c.valid) {
      throw std::invalid_argument(
          str("text is not UTF-8: byte ", byte_at(bytes, i), " at position ", i));
    }
    text += c.value;
    i += c.length;
  }
  return text;
}

bool try_decode_utf8(std::string_view bytes, std::u32string& text) {
  for (std::size_t i = 0; i < bytes.size();) {
    const CodePoint c = code_point_at(bytes, i);
    if (!c.valid) return false;
    text += c.value;
    i += c.length;
  }
  return true;
}

std::u32string decode_utf8_lossy(std::string_view bytes) {
  std::u32string text;
  for (std::size_t i = 0; i < bytes.size();) {
    const CodePoint c = code_point_at(bytes, i);
    text += c.valid ? c.value : U'\uFFFD';
    i += c.length;
  }
  return text;
}

void append_utf8(char32_t c, std::string& bytes) {
  const auto put = [&bytes](char32_t byte) { bytes += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::string encode_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (const char32_t c : text) append_utf8(c, bytes);
  return bytes;
}

}  // namespace plumbline
