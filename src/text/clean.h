// Cleaning a caption before it is tokenized, as open_clip's tokenizers do.
#pragma once

#include <string>
#include <string_view>

namespace plumbline {

enum class CleanMode {
  lower,         ///< basic clean, white space collapsed, lower case
  whitespace,    ///< basic clean, white space collapsed
  canonicalize,  ///< basic clean, '_' to space, ASCII punctuation dropped, lower case, collapsed
};

/// Throws UsageError for another name.
[[nodiscard]] CleanMode clean_mode(std::string_view name);

/// Basic clean = ftfy.fix_text, html.unescape twice, strip. Throws std::invalid_argument when
/// `caption` is not UTF-8.
[[nodiscard]] std::u32string clean_text(std::string_view caption, CleanMode mode);

}  // namespace plumbline
