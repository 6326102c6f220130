// The table of docs/reference/config.md is the one that the program writes from its options. With
// PLUMBLINE_UPDATE_DOCS=1 the test writes it into the page.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "train/run_config.h"

namespace plumbline {
namespace {

constexpr char kPage[] = PLUMBLINE_SOURCE_DIR "/docs/reference/config.md";
constexpr char kBegin[] = "<!-- table -->\n";
constexpr char kEnd[] = "<!-- /table -->\n";

std::string read_page() {
  std::ifstream in(kPage);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST(ConfigReference, PageHoldsTheTableOfTheProgram) {
  const std::string page = read_page();
  const std::size_t begin = page.find(kBegin);
  const std::size_t end = page.find(kEnd);
  ASSERT_NE(begin, std::string::npos) << kPage << " has no line " << kBegin;
  ASSERT_NE(end, std::string::npos) << kPage << " has no line " << kEnd;
  const std::size_t first = begin + sizeof(kBegin) - 1;
  const std::string expected = run_reference();
  ASSERT_NE(expected.find("`train.global_batch`"), std::string::npos);

  const char* update = std::getenv("PLUMBLINE_UPDATE_DOCS");
  if (update != nullptr && std::string(update) == "1") {
    std::ofstream(kPage) << page.substr(0, first) << expected << page.substr(end);
    return;
  }
  EXPECT_EQ(page.substr(first, end - first), expected)
      << "PLUMBLINE_UPDATE_DOCS=1 docs_test writes the page";
}

/// configs/data/*.yaml are bases of run files, as docs/how-to/prepare-shards.md uses them.
TEST(DataFiles, EachIsTheBaseOfARun) {
  namespace fs = std::filesystem;
  const fs::path run = fs::temp_directory_path() / ("plumbline-base-" + std::to_string(getpid()));
  int files = 0;
  for (const auto& entry : fs::directory_iterator(PLUMBLINE_SOURCE_DIR "/configs/data")) {
    std::ofstream(run) << "base: " << entry.path().string() << "\ntrain: {steps: 1}\n";
    const RunConfig config = read_run(run.string(), {});
    ASSERT_EQ(config.data.sources.size(), 1U) << entry.path();
    EXPECT_FALSE(config.data.sources[0].shards.empty()) << entry.path();
    ++files;
  }
  fs::remove(run);
  EXPECT_EQ(files, 7);
}

}  // namespace
}  // namespace plumbline
