#include "plumbline/version.h"

namespace plumbline {

std::string version_string() { return PLUMBLINE_VERSION; }
std::string version_commit() { return PLUMBLINE_COMMIT; }

}  // namespace plumbline
