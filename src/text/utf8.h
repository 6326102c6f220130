// Bytes to code points and back. Strict: no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace plumbline {

/// One code point of `bytes` at `position`. When the bytes there are not UTF-8, `valid` is false
/// and `length` is that of the longest start of a sequence (at least 1), the unit that decoders
/// replace by one U+FFFD (Unicode 15, section 3.9, "maximal subpart").
struct CodePoint {
  char32_t value;
  std::size_t length;
  bool valid;
};
[[nodiscard]] CodePoint code_point_at(std::string_view bytes, std::size_t position);

/// Throws std::invalid_argument naming the first bad byte and its position.
[[nodiscard]] std::u32string decode_utf8(std::string_view bytes);

/// Appends to `text`; returns false at the first byte that is not UTF-8.
[[nodiscard]] bool try_decode_utf8(std::string_view bytes, std::u32string& text);

/// Each undecodable unit becomes U+FFFD, as bytes.decode("utf-8", "replace") in Python.
[[nodiscard]] std::u32string decode_utf8_lossy(std::string_view bytes);

void append_utf8(char32_t code_point, std::string& bytes);
[[nodiscard]] std::string encode_utf8(std::u32string_view text);

}  // namespace plumbline
