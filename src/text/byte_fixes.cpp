#include "text/byte_fixes.h"

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "text/rule_set.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

#include "text/byte_tables.inc"

unsigned byte_at(std::string_view bytes, std::size_t i) {
  return static_cast<unsigned char>(bytes[i]);
}

std::vector<std::uint8_t> classes_of(std::string_view bytes, const std::uint8_t (&table)[256]) {
  std::vector<std::uint8_t> classes;
  classes.reserve(bytes.size());
  for (const char byte : bytes) classes.push_back(table[static_cast<unsigned char>(byte)]);
  return classes;
}

/// Length of the first alternative that matches at i, or 0.
std::size_t match_length(const RuleSet& rules, const std::uint8_t* lengths,
                         std::span<const std::uint8_t> classes, std::size_t i) {
  const std::uint64_t matches = rules.match(classes, i);
  return matches == 0 ? 0 : lengths[std::countr_zero(matches)];
}

/// "à" that stood as a word of its own: C3 20 gets its A0 back and keeps the space, unless it
/// begins a Portuguese contraction (às, àquele, àquela, àquilo), which lost no space.
std::string restore_a_grave(std::string_view bytes) {
  constexpr std::array<std::string_view, 5> kContinues = {" ", "quele", "quela", "quilo", "s "};
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    out += bytes[i];
    if (bytes.substr(i, 2) != "\xC3 ") continue;
    const std::string_view rest = bytes.substr(i + 2);
    bool word = true;
    for (const std::string_view next : kContinues) word = word && !rest.starts_with(next);
    if (!word) continue;
    out += "\xA0 ";
    ++i;
  }
  return out;
}

// The decoder of variants follows a regular expression in which "end of input" also matches before
// a final newline, so truncated sequences there are met in the same odd way.

bool is_end(std::string_view bytes, std::size_t i) {
  return i == bytes.size() || (i + 1 == bytes.size() && bytes[i] == '\n');
}

/// Whether the bytes at `i` are in the given ranges one after the other, or the input ends there.
template <std::size_t N>
bool is_sequence(std::string_view bytes, std::size_t i,
                 const std::array<std::array<unsigned, 2>, N>& ranges) {
  for (const auto& [low, high] : ranges) {
    if (i < bytes.size() && byte_at(bytes, i) >= low && byte_at(bytes, i) <= high) {
      ++i;
    } else if (!is_end(bytes, i)) {
      return false;
    }
  }
  return true;
}

bool is_cesu8_pair(std::string_view bytes, std::size_t i) {
  return byte_at(bytes, i) == 0xED &&
         is_sequence<5>(bytes, i + 1,
                        {{{0xA0, 0xAF}, {0x80, 0xBF}, {0xED, 0xED}, {0xB0, 0xBF}, {0x80, 0xBF}}});
}

bool is_special(std::string_view bytes, std::size_t i) {
  if (byte_at(bytes, i) == 0xC0) return is_sequence<1>(bytes, i + 1, {{{0x80, 0x80}}});
  if (byte_at(bytes, i) != 0xED) return false;
  return is_cesu8_pair(bytes, i) || is_sequence<2>(bytes, i + 1, {{{0xA0, 0xBF}, {0x80, 0xBF}}});
}

char32_t cesu8_value(std::string_view bytes) {
  return (byte_at(bytes, 1) & 0x0FU) * 0x10000 + (byte_at(bytes, 2) & 0x3FU) * 0x400 +
         (byte_at(bytes, 4) & 0x0FU) * 0x40 + (byte_at(bytes, 5) & 0x3FU) + 0x10000;
}

}  // namespace

std::string restore_byte_a0(std::string bytes) {
  const auto replace = [](std::string& text, bool write) {
    const std::vector<std::uint8_t> classes = classes_of(text, kAlteredClasses);
    bool found = false;
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t length = match_length(kAltered, kAlteredLengths, classes, i);
      found = found || length > 0;
      if (found && !write) return true;
      for (std::size_t k = i; k < i + length; ++k) {
        if (text[k] == ' ') text[k] = '\xA0';
      }
      i += length > 0 ? length : 1;
    }
    return found;
  };
  if (!replace(bytes, false)) return bytes;
  bytes = restore_a_grave(bytes);
  replace(bytes, true);
  return bytes;
}

std::string replace_lossy_sequences(std::string_view bytes) {
  const std::vector<std::uint8_t> classes = classes_of(bytes, kLossyClasses);
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = match_length(kLossy, kLossyLengths, classes, i);
    if (length > 0) {
      out += "\xEF\xBF\xBD";
      i += length;
    } else {
      out += bytes[i++];
    }
  }
  return out;
}

bool try_decode_utf8_variants(std::string_view bytes, std::u32string& text) {
  while (!bytes.empty()) {
    std::size_t special = 0;
    while (special < bytes.size() && !is_special(bytes, special)) ++special;
    if (!try_decode_utf8(bytes.substr(0, special), text)) return false;
    bytes.remove_prefix(special);
    if (bytes.empty()) break;
    if (byte_at(bytes, 0) == 0xC0) {
      if (bytes.size() == 1) return false;
      text += U'\0';
      bytes.remove_prefix(2);
    } else if (bytes.size() < 6) {
      return try_decode_utf8(bytes, text);
    } else if (is_cesu8_pair(bytes, 0)) {
      text += cesu8_value(bytes);
      bytes.remove_prefix(6);
    } else {
      return false;  // half of a surrogate pair
    }
  }
  return true;
}

}  // namespace plumbline
