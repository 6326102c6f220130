#include "text/fix_text.h"

#include <algorithm>
#include <utility>

#include "text/html.h"
#include "text/mojibake.h"
#include "text/unicode.h"

namespace plumbline {
namespace {

/// ftfy's max_decode_length: longer lines are cut.
constexpr std::size_t kLongestSegment = 1'000'000;

/// Printable ASCII without '&' is a fixed point of every step.
bool is_plain(std::u32string_view text) {
  return std::all_of(text.begin(), text.end(), [](char32_t c) {
    return (c >= 0x20 && c < 0x7F && c != U'&') || c == U'\t' || c == U'\n';
  });
}

void straighten_quotes(std::u32string& text) {
  for (char32_t& c : text) {
    if (c >= 0x201C && c <= 0x201F) {
      c = U'"';
    } else if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) {
      c = U'\'';
    }
  }
}

std::u32string fix_line_breaks(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == U'\r' && i + 1 < text.size() && text[i + 1] == U'\n') continue;
    const bool breaks = c == U'\r' || c == 0x2028 || c == 0x2029 || c == 0x85;
    out += breaks ? U'\n' : c;
  }
  return out;
}

/// Length of an ANSI escape at `i`: ESC [ parameters letter; 0 when there is none.
std::size_t escape_length(std::u32string_view text, std::size_t i) {
  if (text[i] != 0x1B || i + 1 >= text.size() || text[i + 1] != U'[') return 0;
  std::size_t j = i + 2;
  while (j < text.size() && (text[j] == U';' || (properties(text[j]) & kDecimal) != 0)) ++j;
  const bool letter =
      j < text.size() && text[j] < 0x80 && (text[j] | 32) >= U'a' && (text[j] | 32) <= U'z';
  return letter ? j + 1 - i : 0;
}

std::u32string drop_escapes(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = escape_length(text, i);
    if (length == 0) out += text[i++];
    i += length;
  }
  return out;
}

std::u32string fix_segment(std::u32string text, bool unescape) {
  for (;;) {
    if (is_plain(text)) return text;
    std::u32string fixed = unescape ? unescape_entities(text) : text;
    fixed = fix_width_and_ligatures(fix_c1_controls(fix_encoding(std::move(fixed))));
    straighten_quotes(fixed);
    fixed = to_nfc(drop_controls(drop_escapes(fix_line_breaks(fixed))));
    if (fixed == text) return text;
    text = std::move(fixed);
  }
}

}  // namespace

std::u32string fix_text(std::u32string_view text) {
  if (is_plain(text)) return std::u32string(text);
  std::u32string out;
  bool unescape = true;
  while (!text.empty()) {
    const std::size_t newline = text.find(U'\n');
    const std::size_t line = newline == std::u32string_view::npos ? text.size() : newline + 1;
    const std::u32string_view segment = text.substr(0, std::min(line, kLongestSegment));
    if (segment.find(U'<') != std::u32string_view::npos) unescape = false;
    out += fix_segment(std::u32string(segment), unescape);
    text.remove_prefix(segment.size());
  }
  return out;
}

}  // namespace plumbline
