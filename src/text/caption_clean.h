// Cleaning steps of a caption source (`captions.clean`), before any tokenizer.
#pragma once

#include <span>
#include <string>

namespace plumbline {

/// Applies `steps` in order:
///   url_decode      '+' to space, then %XX as UTF-8 (so %2B stays a plus); bad bytes give U+FFFD
///   strip_html      drops <[^<]+?>
///   strip_urls      drops http\S+|www\S+
///   collapse_space  runs of white space to one space, none at the ends
/// Throws UsageError for another step, std::invalid_argument when `caption` is not UTF-8.
[[nodiscard]] std::string clean_caption(std::string caption, std::span<const std::string> steps);

}  // namespace plumbline
