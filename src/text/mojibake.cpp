#include "text/mojibake.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "text/byte_fixes.h"
#include "text/rule_set.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

struct Replacement {
  char32_t from;
  std::array<char32_t, 3> to;  ///< zeros behind the last
};

#include "text/mojibake_tables.inc"

// What a character may be in UTF-8 that was read as something else.
constexpr unsigned kFirstOf2 = 1;
constexpr unsigned kFirstOf3 = 2;
constexpr unsigned kFirstOf4 = 4;
constexpr unsigned kContinues = 8;
constexpr unsigned kContinuesStrictly = 16;

bool is_ascii(std::u32string_view text) {
  return std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; });
}

bool is_c1(char32_t c) { return c >= 0x80 && c <= 0x9F; }

unsigned clue(char32_t c) {
  const auto* entry =
      std::lower_bound(std::begin(kClues), std::end(kClues), static_cast<std::uint32_t>(c) << 8);
  return entry != std::end(kClues) && *entry >> 8 == c ? *entry & 0xFF : 0;
}

/// The single-byte encodings, from characters to bytes.
class Encoder {
 public:
  Encoder() {
    for (int e = 0; e < kEncodings; ++e) {
      for (unsigned byte = 0; byte < 256; ++byte) add(e, decode(e, byte), byte);
    }
  }
  /// Bit e set: encoding e has all characters of the text.
  [[nodiscard]] unsigned possible(std::u32string_view text) const {
    unsigned encodings = (1U << kEncodings) - 1;
    for (const char32_t c : text) {
      if (encodings == 0) break;
      encodings &= c < members_.size() ? members_[c] : 0;
    }
    return encodings;
  }
  [[nodiscard]] std::string encode(std::u32string_view text, int encoding) const {
    std::string bytes;
    bytes.reserve(text.size());
    for (const char32_t c : text) bytes += bytes_[index(encoding, c)];
    return bytes;
  }

 private:
  /// Sloppy encodings use byte 1A, "substitute", for U+FFFD.
  static char32_t decode(int encoding, unsigned byte) {
    if (byte == 0x1A && (kSloppy >> encoding & 1) != 0) return U'\uFFFD';
    return byte < 0x80 ? byte : kHighBytes[encoding][byte - 0x80];
  }
  static std::size_t index(int encoding, char32_t c) {
    return static_cast<std::size_t>(encoding) << 16 | c;
  }
  void add(int encoding, char32_t c, unsigned byte) {
    members_[c] |= static_cast<std::uint16_t>(1U << encoding);
    bytes_[index(encoding, c)] = static_cast<char>(byte);
  }
  std::vector<std::uint16_t> members_ = std::vector<std::uint16_t>(0x10000);
  std::vector<char> bytes_ = std::vector<char>(0x10000 * kEncodings);
};

const Encoder& encoder() {
  static const Encoder instance;
  return instance;
}

/// Reads the text back as bytes of `encoding` and decodes them as UTF-8.
bool try_reread(std::u32string_view text, int encoding, std::u32string& fixed) {
  std::string bytes = encoder().encode(text, encoding);
  // In MacRoman the pattern would be an en dash before a space.
  if (encoding != kMacRoman) bytes = restore_byte_a0(std::move(bytes));
  if ((kSloppy >> encoding & 1) != 0) bytes = replace_lossy_sequences(bytes);
  fixed.clear();
  const bool variants = bytes.find_first_of("\xED\xC0") != std::string::npos;
  return variants ? try_decode_utf8_variants(bytes, fixed) : try_decode_utf8(bytes, fixed);
}

/// Length of the run of sequences at `i` that would be UTF-8 in some single-byte encoding; 0 inside
/// a larger garble, where mending a few characters would make it worse.
std::size_t detected_length(std::u32string_view text, std::size_t i) {
  if (i > 0 && (clue(text[i - 1]) & kContinuesStrictly) != 0) return 0;
  const auto continues = [text](std::size_t start, std::size_t count) {
    for (std::size_t k = start; k < start + count; ++k) {
      if (k >= text.size() || (clue(text[k]) & kContinues) == 0) return false;
    }
    return true;
  };
  std::size_t end = i;
  while (end < text.size()) {
    const unsigned lead = clue(text[end]);
    if ((lead & kFirstOf2) != 0 && continues(end + 1, 1)) {
      end += 2;
    } else if ((lead & kFirstOf3) != 0 && continues(end + 1, 2)) {
      end += 3;
    } else if ((lead & kFirstOf4) != 0 && continues(end + 1, 3)) {
      end += 4;
    } else {
      break;
    }
  }
  return end - i;
}

/// Mends stretches of mojibake inside text of another encoding.
std::u32string decode_inconsistent(std::u32string_view text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = detected_length(text, i);
    if (length == 0) {
      out += text[i++];
      continue;
    }
    const std::u32string_view part = text.substr(i, length);
    // Only a shorter text may recurse.
    const bool fix = length < text.size() && looks_like_mojibake(part);
    out += fix ? fix_encoding(std::u32string(part)) : std::u32string(part);
    i += length;
  }
  return out;
}

/// Latin-1 read as Windows-1252; false where that has no character.
bool try_windows_1252(std::u32string_view text, std::u32string& out) {
  out.clear();
  for (const char32_t c : text) {
    const char32_t mapped = is_c1(c) ? kWindows1252[c - 0x80] : c;
    if (is_c1(c) && mapped == 0) return false;
    out += mapped;
  }
  return true;
}

std::u32string fix_encoding_once(const std::u32string& text) {
  if (is_ascii(text) || !looks_like_mojibake(text)) return text;
  const unsigned possible = encoder().possible(text);
  std::u32string fixed;
  for (int encoding = 0; encoding < kEncodings; ++encoding) {
    if ((possible >> encoding & 1) != 0 && try_reread(text, encoding, fixed)) return fixed;
  }
  fixed = decode_inconsistent(text);
  if (fixed != text) return fixed;
  const bool latin1 = (possible >> kLatin1 & 1) != 0;
  if (latin1 && try_windows_1252(text, fixed) && fixed != text) return fixed;
  return fix_c1_controls(text);
}

}  // namespace

bool looks_like_mojibake(std::u32string_view text) {
  static const std::vector<std::uint8_t> table = expand_runs<std::uint8_t>(kBadClassRuns, 8);
  std::vector<std::uint8_t> classes;
  classes.reserve(text.size());
  for (const char32_t c : text) classes.push_back(table[c]);
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (kBad.match(classes, i) != 0) return true;
  }
  return false;
}

std::u32string fix_encoding(std::u32string text) {
  for (;;) {
    std::u32string next = fix_encoding_once(text);
    if (next == text) return text;
    text = std::move(next);
  }
}

std::u32string fix_c1_controls(std::u32string text) {
  for (char32_t& c : text) {
    if (is_c1(c) && kWindows1252[c - 0x80] != 0) c = kWindows1252[c - 0x80];
  }
  return text;
}

std::u32string fix_width_and_ligatures(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    const auto* entry =
        std::lower_bound(std::begin(kReplacements), std::end(kReplacements), c,
                         [](const Replacement& r, char32_t value) { return r.from < value; });
    if (c < 0x100 || entry == std::end(kReplacements) || entry->from != c) {
      out += c;
      continue;
    }
    for (const char32_t to : entry->to) {
      if (to != 0) out += to;
    }
  }
  return out;
}

std::u32string drop_controls(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    const bool dropped = (c < 0x20 || c == 0x7F || c >= 0x206A) &&
                         std::binary_search(std::begin(kDropped), std::end(kDropped), c);
    if (!dropped) out += c;
  }
  return out;
}

}  // namespace plumbline
