#include "core/assets.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> asset_folders() {
  std::vector<fs::path> folders{"assets"};
  if (const char* folder = std::getenv("PLUMBLINE_ASSETS"); folder != nullptr && *folder != '\0') {
    folders.emplace_back(folder);
  }
  std::error_code failed;
  const fs::path executable = fs::read_symlink("/proc/self/exe", failed);
  if (!failed) {
    folders.push_back((executable.parent_path() / "../../assets").lexically_normal());
  }
  return folders;
}

}  // namespace

std::string find_asset(const std::string& name) {
  std::string places;
  for (const fs::path& folder : asset_folders()) {
    const fs::path path = folder / name;
    std::error_code failed;
    if (fs::exists(path, failed)) return path.string();
    places += (places.empty() ? "" : ", ") + path.string();
  }
  throw DataError(
      str("no asset '", name, "': looked at ", places,
          "; run launch/setup.sh, or set PLUMBLINE_ASSETS to the folder of the assets"));
}

}  // namespace plumbline
