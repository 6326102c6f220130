#include "train/watchdog.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>

namespace plumbline {
namespace {

using std::chrono::milliseconds;

TEST(WatchdogDeathTest, NamesTheStageAndExitsResumable) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        Watchdog dog(0.3,
                     [](const std::string& what) { std::fprintf(stderr, "%s\n", what.c_str()); });
        dog.enter("waiting for data", 41);
        std::this_thread::sleep_for(milliseconds(5000));
      },
      ::testing::ExitedWithCode(75), "stage 'waiting for data' of step 42");
}

TEST(Watchdog, StaysQuietWhileStagesChange) {
  bool reported = false;
  {
    Watchdog dog(1.0, [&](const std::string&) { reported = true; });
    for (int i = 0; i < 15; ++i) {
      dog.enter("step", 10);  // the same stage again is progress too
      std::this_thread::sleep_for(milliseconds(100));
    }
  }
  EXPECT_FALSE(reported);
}

}  // namespace
}  // namespace plumbline
