#include "text/clean.h"

#include "plumbline/error.h"
#include "text/fix_text.h"
#include "text/html.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

bool is_ascii_punctuation(char32_t c) {
  return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
         (c >= 0x7B && c <= 0x7E);
}

std::u32string without_punctuation(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (c == U'_') {
      out += U' ';
    } else if (!is_ascii_punctuation(c)) {
      out += c;
    }
  }
  return out;
}

}  // namespace

CleanMode clean_mode(std::string_view name) {
  if (name == "lower") return CleanMode::lower;
  if (name == "whitespace") return CleanMode::whitespace;
  if (name == "canonicalize") return CleanMode::canonicalize;
  throw UsageError(str("unknown tokenizer clean '", name, "': lower, whitespace or canonicalize"));
}

std::u32string clean_text(std::string_view caption, CleanMode mode) {
  const std::u32string basic = unescape_html(unescape_html(fix_text(decode_utf8(caption))));
  switch (mode) {
    case CleanMode::lower:
      return to_lower(collapse_space(basic));
    case CleanMode::whitespace:
      return collapse_space(basic);
    case CleanMode::canonicalize:
      // strip() first: white space at the ends is no context for the final sigma.
      return collapse_space(to_lower(without_punctuation(strip(basic))));
  }
  throw InternalError("clean_text: unknown mode");
}

}  // namespace plumbline
