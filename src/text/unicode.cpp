#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "plumbline/error.h"
#include "plumbline/handle.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

#include "text/unicode_tables.inc"

bool has(char32_t c, Property property) { return (properties(c) & property) != 0; }

/// Whether the capital sigma at `i` ends a word: a cased letter before it, none after it, with
/// case-ignorable characters skipped (Unicode 14, table 3-17, as CPython reads it).
bool is_final_sigma(std::u32string_view text, std::size_t i) {
  std::size_t before = i;
  while (before > 0 && has(text[before - 1], kCaseIgnorable)) --before;
  if (before == 0 || !has(text[before - 1], kCased)) return false;
  std::size_t after = i + 1;
  while (after < text.size() && has(text[after], kCaseIgnorable)) ++after;
  return after == text.size() || !has(text[after], kCased);
}

/// NFC or NFD of a run without boundaries.
void append_normalized(std::u32string_view run, utf8proc_option_t form, std::u32string& out) {
  const std::string bytes = encode_utf8(run);
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()),
                   static_cast<utf8proc_ssize_t>(bytes.size()), &raw,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form));
  const Handle<utf8proc_uint8_t, std::free> normalized(raw);
  require(size >= 0, "text to normalize is valid UTF-8");
  const std::string_view view(reinterpret_cast<const char*>(raw), static_cast<std::size_t>(size));
  require(try_decode_utf8(view, out), "normalized text is valid UTF-8");
}

std::u32string normalize(std::u32string_view text, utf8proc_option_t form,
                         bool (*boundary)(char32_t)) {
  std::u32string out;
  out.reserve(text.size());
  std::size_t start = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && !boundary(text[i])) continue;
    if (i > start) append_normalized(text.substr(start, i - start), form, out);
    if (i < text.size()) out += text[i];
    start = i + 1;
  }
  return out;
}

}  // namespace

std::uint16_t properties(char32_t c) {
  static const std::vector<std::uint16_t> table = expand_runs<std::uint16_t>(kPropertyRuns, 11);
  return c < table.size() ? table[c] : std::uint16_t{0};
}

void append_lower(char32_t c, std::u32string& out) {
  if (c < 0x80) {
    out += c >= U'A' && c <= U'Z' ? c + 32 : c;
  } else if (c == U'\u0130') {
    out += U"i\u0307";
  } else if (has(c, kHasLower)) {
    const auto* entry = std::lower_bound(
        std::begin(kLower), std::end(kLower), c,
        [](const std::array<char32_t, 2>& e, char32_t value) { return e[0] < value; });
    out += (*entry)[1];
  } else {
    out += c;
  }
}

std::u32string to_lower(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == U'\u03A3' && is_final_sigma(text, i)) {
      out += U'\u03C2';
    } else {
      append_lower(text[i], out);
    }
  }
  return out;
}

std::u32string to_nfc(std::u32string_view text) {
  // Nothing below U+0300 decomposes for good or composes with something below it.
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x300; })) {
    return std::u32string(text);
  }
  return normalize(text, UTF8PROC_COMPOSE, [](char32_t c) { return has(c, kUnassigned); });
}

std::u32string to_nfd(std::u32string_view text, bool (*boundary)(char32_t)) {
  return normalize(text, UTF8PROC_DECOMPOSE, boundary);
}

std::u32string collapse_space(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  bool pending = false;
  for (const char32_t c : text) {
    if (is_space(c)) {
      pending = !out.empty();
    } else {
      if (pending) out += U' ';
      pending = false;
      out += c;
    }
  }
  return out;
}

std::u32string_view strip(std::u32string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace plumbline
