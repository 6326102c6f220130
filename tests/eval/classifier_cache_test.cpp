// Classifier rows on disk: what is found again, what counts as absent, what is removed.
#include "eval/classifier_cache.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "core/file.h"
#include "plumbline/error.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using test::TempFolder;

std::size_t files_in(const std::string& folder) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& file : fs::directory_iterator(folder)) ++n;
  return n;
}

TEST(ClassifierCache, FindsWhatItKept) {
  const TempFolder folder;
  const ClassifierCache cache(folder / "a/b");
  EXPECT_FALSE(cache.find("x").has_value());
  const std::string rows("\0 rows \n\xff", 9);
  cache.keep("x", rows);
  cache.keep("y", "");
  EXPECT_EQ(cache.find("x"), rows);
  EXPECT_EQ(cache.find("z"), std::nullopt);
  EXPECT_EQ(files_in(folder / "a/b"), 2U) << "nothing is left beside the entries";
  cache.keep("x", "other");
  EXPECT_EQ(cache.find("x"), "other");
}

TEST(ClassifierCache, DamagedEntriesAreAbsent) {
  const TempFolder folder;
  const ClassifierCache cache(folder.path().string());
  cache.keep("x", "some rows");
  const std::string good = read_file(folder / "x.rows");
  for (const std::string& bad :
       {std::string(), good.substr(0, 30), good.substr(0, 65), good.substr(0, good.size() - 1),
        good + "more", str(good.substr(0, 70), "X", good.substr(71))}) {
    test::write_file(folder / "x.rows", bad);
    EXPECT_FALSE(cache.find("x").has_value()) << bad;
  }
  test::write_file(folder / "x.rows", good);
  EXPECT_EQ(cache.find("x"), "some rows");
}

TEST(ClassifierCache, DropsTheEntriesReadLongestAgo) {
  const TempFolder folder;
  const ClassifierCache cache(folder.path().string(), 4000);
  const std::string rows(1000, 'r');
  const auto hours_ago = [&](const std::string& key, int hours) {
    fs::last_write_time(folder / str(key, ".rows"),
                        fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  for (const char* key : {"a", "b", "c"}) cache.keep(key, rows);
  hours_ago("a", 3);
  hours_ago("b", 2);
  hours_ago("c", 1);
  ASSERT_TRUE(cache.find("a").has_value());  // now the newest
  cache.keep("d", rows);
  EXPECT_TRUE(cache.find("a").has_value());
  EXPECT_FALSE(cache.find("b").has_value());
  EXPECT_TRUE(cache.find("c").has_value());
  EXPECT_TRUE(cache.find("d").has_value());
  // What a crash left behind goes the same way; files of others stay.
  test::write_file(folder / "e.rows.123", rows);
  test::write_file(folder / "notes.txt", std::string(9000, 'n'));
  fs::last_write_time(folder / "e.rows.123",
                      fs::file_time_type::clock::now() - std::chrono::hours(9));
  cache.keep("f", rows);
  EXPECT_FALSE(fs::exists(folder / "e.rows.123"));
  EXPECT_TRUE(fs::exists(folder / "notes.txt"));
}

TEST(ClassifierCache, WritersAtOnceLeaveAWholeEntry) {
  const TempFolder folder;
  const std::string rows(1 << 20, 'r');
  std::vector<std::thread> writers;
  for (int i = 0; i < 2; ++i) {
    writers.emplace_back([&] {
      for (int k = 0; k < 5; ++k) {
        try {
          ClassifierCache(folder.path().string()).keep("x", rows);
        } catch (const Error&) {  // threads share a process id: one may take the other's file
        }
        const auto found = ClassifierCache(folder.path().string()).find("x");
        EXPECT_TRUE(!found || *found == rows);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(ClassifierCache(folder.path().string()).find("x"), rows);
}

TEST(ClassifierCache, SaysWhereItCannotWrite) {
  const TempFolder folder;
  test::write_file(folder / "file", "");
  try {
    ClassifierCache(folder / "file/below").keep("x", "rows");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("file/below"), std::string::npos) << e.what();
  }
}

TEST(ClassifierCache, FolderBySetting) {
  const char* home = std::getenv("HOME");
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const std::string home_before = home == nullptr ? "" : home;
  const std::string cache_before = cache == nullptr ? "" : cache;
  ::setenv("XDG_CACHE_HOME", "/c", 1);
  EXPECT_EQ(classifier_cache_folder("auto"), "/c/plumbline/classifiers");
  EXPECT_EQ(classifier_cache_folder("off"), "");
  EXPECT_EQ(classifier_cache_folder("some/where"), "some/where");
  ::unsetenv("XDG_CACHE_HOME");
  ::setenv("HOME", "/h", 1);
  EXPECT_EQ(classifier_cache_folder("auto"), "/h/.cache/plumbline/classifiers");
  ::unsetenv("HOME");
  EXPECT_EQ(classifier_cache_folder("auto"), "");
  if (!home_before.empty()) ::setenv("HOME", home_before.c_str(), 1);
  if (!cache_before.empty()) ::setenv("XDG_CACHE_HOME", cache_before.c_str(), 1);
}

}  // namespace
}  // namespace plumbline
