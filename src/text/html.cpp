#include "text/html.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

namespace plumbline {
namespace {

struct Entity {
  std::string_view name;
  std::array<char32_t, 3> value;  ///< zeros behind the last
  std::uint8_t use;
};
constexpr std::uint8_t kHtml5 = 1;
constexpr std::uint8_t kFtfy = 2;

#include "text/html_tables.inc"

constexpr std::size_t kLongestName = 32;

const Entity* find_entity(std::string_view name, std::uint8_t use) {
  const auto* entry =
      std::lower_bound(std::begin(kEntities), std::end(kEntities), name,
                       [](const Entity& e, std::string_view value) { return e.name < value; });
  const bool found = entry != std::end(kEntities) && entry->name == name && (entry->use & use) != 0;
  return found ? entry : nullptr;
}

void append_value(const Entity& entity, std::u32string& out) {
  for (const char32_t c : entity.value) {
    if (c != 0) out += c;
  }
}

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool is_ascii_letter(char32_t c) { return (c | 32) >= U'a' && (c | 32) <= U'z' && c < 0x80; }
bool is_hex(char32_t c) {
  return is_digit(c) || ((c | 32) >= U'a' && (c | 32) <= U'f' && c < 0x80);
}

unsigned digit_value(char32_t c) {
  return static_cast<unsigned>(is_digit(c) ? c - U'0' : (c | 32) - U'a' + 10);
}

void append_numeric(char32_t number, std::u32string& out) {
  if (number < std::size(kNumericReferences)) {
    if (const char32_t c = kNumericReferences[number]; c != 0) out += c;
  } else if ((number >= 0xD800 && number <= 0xDFFF) || number > 0x10FFFF) {
    out += U'\uFFFD';
  } else if ((number >= 0xFDD0 && number <= 0xFDEF) || (number & 0xFFFE) == 0xFFFE) {
    return;  // noncharacters vanish
  } else {
    out += number;
  }
}

/// The numeric reference whose '#' stands at `i`. Returns the position behind it, or `i` when there
/// is none.
std::size_t numeric_reference(std::u32string_view text, std::size_t i, std::u32string& out) {
  std::size_t j = i + 1;
  const bool hex = j < text.size() && (text[j] | 32) == U'x';
  if (hex) ++j;
  const std::size_t digits = j;
  const unsigned base = hex ? 16 : 10;
  char32_t number = 0;
  for (; j < text.size() && (hex ? is_hex(text[j]) : is_digit(text[j])); ++j) {
    number = std::min<char32_t>(number * base + digit_value(text[j]), 0x110000);
  }
  if (j == digits) return i;
  append_numeric(number, out);
  return j < text.size() && text[j] == U';' ? j + 1 : j;
}

bool ends_name(char32_t c) {
  constexpr std::u32string_view kEnds = U"\t\n\f <&#;";
  return kEnds.find(c) != std::u32string_view::npos;
}

/// The named reference that starts at `i`, behind '&'. Returns how much of the text it used: 0 when
/// no name is known.
std::size_t named_reference(std::u32string_view text, std::size_t i, std::u32string& out) {
  std::string name;
  std::size_t j = i;
  while (j < text.size() && j - i < kLongestName && text[j] < 0x80 && !ends_name(text[j])) {
    name += static_cast<char>(text[j++]);
  }
  if (j < text.size() && text[j] == U';') name += ';';
  for (std::size_t length = name.size(); length >= 2; --length) {
    if (const Entity* entity = find_entity(std::string_view(name).substr(0, length), kHtml5)) {
      append_value(*entity, out);
      return length;
    }
  }
  return 0;
}

bool contains(std::u32string_view text, char32_t c) {
  return text.find(c) != std::u32string_view::npos;
}

/// Length of `&#?[0-9A-Za-z]{1,24};` at `i`, or 0.
std::size_t entity_length(std::u32string_view text, std::size_t i) {
  std::size_t j = i + 1;
  if (j < text.size() && text[j] == U'#') ++j;
  const std::size_t start = j;
  while (j < text.size() && j - start <= 24 && (is_digit(text[j]) || is_ascii_letter(text[j]))) ++j;
  const bool matches = j > start && j - start <= 24 && j < text.size() && text[j] == U';';
  return matches ? j + 1 - i : 0;
}

void append_entity(std::u32string_view reference, std::u32string& out) {
  std::string name;
  for (const char32_t c : reference.substr(1)) name += static_cast<char>(c);
  if (const Entity* entity = find_entity(name, kFtfy)) return append_value(*entity, out);
  if (name[0] == '#') {
    // A semicolon left over means that only a part was a reference (or that it stands for one).
    const std::u32string value = unescape_html(reference);
    if (!contains(value, U';')) {
      out += value;
      return;
    }
  }
  out += reference;
}

}  // namespace

std::u32string unescape_html(std::u32string_view text) {
  if (!contains(text, U'&')) return std::u32string(text);
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != U'&') {
      out += text[i++];
      continue;
    }
    ++i;
    const bool number = i < text.size() && text[i] == U'#';
    const std::size_t end =
        number ? numeric_reference(text, i, out) : i + named_reference(text, i, out);
    if (end == i) out += U'&';
    i = end;
  }
  return out;
}

std::u32string unescape_entities(std::u32string_view text) {
  if (!contains(text, U'&')) return std::u32string(text);
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = text[i] == U'&' ? entity_length(text, i) : 0;
    if (length == 0) {
      out += text[i++];
    } else {
      append_entity(text.substr(i, length), out);
      i += length;
    }
  }
  return out;
}

}  // namespace plumbline
