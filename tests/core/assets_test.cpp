#include "core/assets.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

TEST(Assets, NamedFolderIsLookedAt) {
  const fs::path folder =
      fs::temp_directory_path() / ("plumbline_assets_" + std::to_string(::getpid()));
  fs::create_directory(folder);
  const std::string name = "only-here.txt";
  std::ofstream(folder / name) << "x";
  ::setenv("PLUMBLINE_ASSETS", folder.c_str(), 1);
  EXPECT_EQ(find_asset(name), (folder / name).string());
  fs::remove_all(folder);
  try {
    (void)find_asset(name);
    ADD_FAILURE() << "found " << name;
  } catch (const DataError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find(name), std::string::npos) << what;
    EXPECT_NE(what.find((folder / name).string()), std::string::npos) << what;
    EXPECT_NE(what.find("assets/" + name), std::string::npos) << what;
    EXPECT_NE(what.find("launch/setup.sh"), std::string::npos) << what;
  }
  ::unsetenv("PLUMBLINE_ASSETS");
}

}  // namespace
}  // namespace plumbline
