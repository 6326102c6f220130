// The page's source files, embedded when the program is built (page/, see CMakeLists.txt).
#pragma once

#include <string_view>

namespace plumbline {

[[nodiscard]] std::string_view page_html();
[[nodiscard]] std::string_view page_css();
[[nodiscard]] std::string_view page_script();

}  // namespace plumbline
