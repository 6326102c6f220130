// Character references of HTML: Python's html.unescape and ftfy's stricter one.
#pragma once

#include <string>
#include <string_view>

namespace plumbline {

/// html.unescape of Python 3.11: the HTML 5 rules for references, named ones also without their
/// semicolon (longest known name), numeric ones of C1 controls as Windows-1252.
/// (Python refuses decimal references of more than 4300 digits; here they are U+FFFD.)
[[nodiscard]] std::u32string unescape_html(std::u32string_view text);

/// ftfy's unescape_html: only references that end in a semicolon, and capital forms of names that
/// have none of their own (&NTILDE;).
[[nodiscard]] std::u32string unescape_entities(std::u32string_view text);

}  // namespace plumbline
