// A regular expression that is a list of short fixed sequences of character sets, as bit masks: one
// AND a place tests all alternatives at once. The masks are generated (make_tables.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace plumbline {

struct RuleSet {
  int places;                  ///< length of the longest rule
  std::size_t classes;         ///< columns of `masks`
  const std::uint64_t* masks;  ///< [places][classes]: bit r = rule r allows this class here
  const std::uint64_t* end;    ///< [places]: bit r = rule r is complete before this place
  std::uint64_t anchored;      ///< rules that match only at the start of the text

  /// Rules that match at position i of a text given as classes; the lowest bit is the first
  /// alternative.
  [[nodiscard]] std::uint64_t match(std::span<const std::uint8_t> text, std::size_t i) const {
    std::uint64_t alive = masks[text[i]];
    if (i > 0) alive &= ~anchored;
    for (std::size_t k = 1; alive != 0 && k < static_cast<std::size_t>(places); ++k) {
      alive &= i + k < text.size() ? masks[k * classes + text[i + k]] : end[k];
    }
    return alive;
  }
};

}  // namespace plumbline
