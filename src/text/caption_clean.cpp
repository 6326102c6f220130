#include "text/caption_clean.h"

#include <algorithm>
#include <string_view>

#include "plumbline/error.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const int lower = c | 32;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Percent-decodes a run of ASCII; its bytes are decoded together, apart from what surrounds them.
std::string decode_ascii_run(std::string_view run) {
  std::string bytes;
  for (std::size_t i = 0; i < run.size(); ++i) {
    const int high = run[i] == '%' && i + 2 < run.size() ? hex_value(run[i + 1]) : -1;
    const int low = high >= 0 ? hex_value(run[i + 2]) : -1;
    if (low >= 0) {
      bytes += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      bytes += run[i];
    }
  }
  return encode_utf8(decode_utf8_lossy(bytes));
}

std::string url_decode(std::string caption) {
  std::replace(caption.begin(), caption.end(), '+', ' ');
  if (caption.find('%') == std::string::npos) return caption;
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  std::string out;
  for (auto at = caption.begin(); at != caption.end();) {
    const auto run = std::find_if_not(at, caption.end(), is_ascii);
    out += decode_ascii_run(std::string_view(at, run));
    at = std::find_if(run, caption.end(), is_ascii);
    out.append(run, at);
  }
  return out;
}

/// Position behind the tag that opens at `i`, or `i`. A tag holds at least one character, which may
/// be '>' itself, and no '<'.
std::size_t tag_end(std::string_view text, std::size_t i) {
  if (i + 2 >= text.size() || text[i + 1] == '<') return i;
  const std::size_t end = text.find_first_of("<>", i + 2);
  return end != std::string_view::npos && text[end] == '>' ? end + 1 : i;
}

std::string strip_html(std::string_view caption) {
  std::string out;
  for (std::size_t i = 0; i < caption.size();) {
    const std::size_t end = caption[i] == '<' ? tag_end(caption, i) : i;
    if (end == i) out += caption[i++];
    i = std::max(i, end);
  }
  return out;
}

std::string strip_urls(std::string_view caption) {
  const std::u32string text = decode_utf8(caption);
  const std::u32string_view view = text;
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::u32string_view rest = view.substr(i);
    std::size_t length = rest.starts_with(U"http") ? 4 : rest.starts_with(U"www") ? 3 : 0;
    const bool found = length > 0 && length < rest.size() && !is_space(rest[length]);
    while (found && length < rest.size() && !is_space(rest[length])) ++length;
    if (!found) out += text[i];
    i += found ? length : 1;
  }
  return encode_utf8(out);
}

}  // namespace

std::string clean_caption(std::string caption, std::span<const std::string> steps) {
  if (!steps.empty()) (void)decode_utf8(caption);
  for (const std::string& step : steps) {
    if (step == "url_decode") {
      caption = url_decode(std::move(caption));
    } else if (step == "strip_html") {
      caption = strip_html(caption);
    } else if (step == "strip_urls") {
      caption = strip_urls(caption);
    } else if (step == "collapse_space") {
      caption = encode_utf8(collapse_space(decode_utf8(caption)));
    } else {
      throw UsageError(str("unknown caption cleaning step '", step,
                           "': url_decode, strip_html, strip_urls or collapse_space"));
    }
  }
  return caption;
}

}  // namespace plumbline
