// Mojibake: UTF-8 that was read as a single-byte encoding. What ftfy 6.3.1 finds and repairs.
#pragma once

#include <string>
#include <string_view>

namespace plumbline {

/// Whether the text holds a sequence that is far more likely mojibake than intended.
[[nodiscard]] bool looks_like_mojibake(std::u32string_view text);

/// ftfy's fix_encoding: undoes mojibake layer by layer until nothing changes.
[[nodiscard]] std::u32string fix_encoding(std::u32string text);

/// C1 controls become the characters that Windows-1252 has at their place.
[[nodiscard]] std::u32string fix_c1_controls(std::u32string text);

/// Latin ligatures and half or full width forms become plain characters (one table, because no
/// output of the one is an input of the other).
[[nodiscard]] std::u32string fix_width_and_ligatures(std::u32string_view text);

/// Drops control characters that have no place in text.
[[nodiscard]] std::u32string drop_controls(std::u32string_view text);

}  // namespace plumbline
