// What this binary was built from.
#pragma once

#include <string>

namespace plumbline {

[[nodiscard]] std::string version_string();  ///< "0.1.0"
[[nodiscard]] std::string version_commit();  ///< short git commit, or "unknown"

}  // namespace plumbline
