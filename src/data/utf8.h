// UTF-8 as captions need it: strict, cut at code points, stripped like Python's str.strip().
#pragma once

#include <cstddef>
#include <string_view>

namespace plumbline {

/// Whether `text` is UTF-8 without overlong forms, surrogates or code points above U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text);
/// The longest prefix of at most `bytes` bytes that ends at a code point.
[[nodiscard]] std::string_view cut_utf8(std::string_view text, std::size_t bytes);
/// Without Unicode white space at both ends, as Python's str.strip().
[[nodiscard]] std::string_view strip(std::string_view text);

}  // namespace plumbline
