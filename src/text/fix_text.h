// ftfy.fix_text of ftfy 6.3.1 with its default settings.
#pragma once

#include <string>
#include <string_view>

namespace plumbline {

/// Line by line (up to and with each newline): HTML references (not any more from the first line
/// with a '<' on), mojibake, C1 controls, ligatures and width, straight quotes, line breaks,
/// terminal escapes, control characters, NFC; repeated until the line stays as it is. `text` holds
/// no surrogates, so ftfy's repair of those has nothing to do.
[[nodiscard]] std::u32string fix_text(std::u32string_view text);

}  // namespace plumbline
