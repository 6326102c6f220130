// Properties of code points as Python 3.11 (Unicode 14) and the `regex` module see them, full lower
// case, NFC, and splitting at white space. Newer libraries disagree on code points that are new in
// them, so the tables are generated (make_tables.py) and not taken from the system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plumbline {

enum Property : std::uint16_t {
  kLetter = 1,          ///< [\p{L}] of the split pattern
  kNumber = 2,          ///< [\p{N}]
  kOther = 4,           ///< [^\s\p{L}\p{N}]; U+0345 is in none of the three
  kSpace = 8,           ///< str.isspace()
  kCased = 16,          ///< Unicode "Cased" and not case-ignorable
  kCaseIgnorable = 32,  ///< Unicode "Case_Ignorable"
  kHasLower = 64,       ///< its lower case differs
  kUnassigned = 128,    ///< general category Cn in Unicode 14
  kDecimal = 256,       ///< \d of Python's re
};

/// Bit set of Property; 0 for a surrogate.
[[nodiscard]] std::uint16_t properties(char32_t c);
[[nodiscard]] inline bool is_space(char32_t c) { return (properties(c) & kSpace) != 0; }

/// Appends str.lower() of one code point without its context: U+03A3 gives U+03C3.
void append_lower(char32_t c, std::u32string& out);

/// str.lower(): full mapping, with the final sigma; U+0130 gives two code points.
[[nodiscard]] std::u32string to_lower(std::u32string_view text);

/// Canonical composition. `boundary(c)` true: c neither composes nor moves (a character that is
/// unknown to the reference but known to the library).
[[nodiscard]] std::u32string to_nfc(std::u32string_view text);
/// Canonical decomposition with boundaries of the caller.
[[nodiscard]] std::u32string to_nfd(std::u32string_view text, bool (*boundary)(char32_t));

/// " ".join(text.split()): runs of white space become one space, none at the ends.
[[nodiscard]] std::u32string collapse_space(std::u32string_view text);
/// text.strip()
[[nodiscard]] std::u32string_view strip(std::u32string_view text);

/// Expands a run-length table (first code point << bits | value) to one value a code point.
template <typename T>
[[nodiscard]] std::vector<T> expand_runs(std::span<const std::uint32_t> runs, int bits) {
  constexpr std::size_t kCodePoints = 0x110000;
  std::vector<T> values(kCodePoints);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::size_t end = i + 1 < runs.size() ? runs[i + 1] >> bits : kCodePoints;
    for (std::size_t c = runs[i] >> bits; c < end; ++c) {
      values[c] = static_cast<T>(runs[i] & ((1U << bits) - 1));
    }
  }
  return values;
}

}  // namespace plumbline
