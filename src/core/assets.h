// Where fetched files (vocabulary, class names, templates, plot script) stand.
#pragma once

#include <string>

namespace plumbline {

/// Path of the asset `name`: the first that exists of assets/NAME in the working directory,
/// $PLUMBLINE_ASSETS/NAME, and assets/NAME two folders above the executable (a build tree).
/// Throws DataError naming the places looked at and the command that fetches the assets.
[[nodiscard]] std::string find_asset(const std::string& name);

}  // namespace plumbline
