#include "log/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

TEST(Log, FileHasLevelAndLine) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("plumbline_log_" + std::to_string(::getpid())))
          .string();
  std::filesystem::remove(path);
  {
    const Log log(path, false);
    log.info("one");
    log.warn("two {}");  // no formatting happens to what is logged
  }
  const std::string content = read_file(path);
  EXPECT_NE(content.find(" info one\n"), std::string::npos);
  EXPECT_NE(content.find(" warning two {}\n"), std::string::npos);
  std::filesystem::remove(path);
}

TEST(Log, UnwritableFileIsNamed) {
  try {
    const Log log("/proc/none/x.log", false);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("/proc/none/x.log"), std::string::npos);
  }
}

TEST(FormatDuration, MinutesAndHours) {
  EXPECT_EQ(format_duration(0), "0:00");
  EXPECT_EQ(format_duration(61.4), "1:01");
  EXPECT_EQ(format_duration(3599.6), "1:00:00");
  EXPECT_EQ(format_duration(-3), "0:00");
}

}  // namespace
}  // namespace plumbline
