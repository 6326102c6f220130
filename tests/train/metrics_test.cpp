#include "train/metrics.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

std::string scratch(const std::string& name) {
  const fs::path dir =
      fs::temp_directory_path() / ("plumbline_metrics_" + std::to_string(getpid()));
  fs::create_directories(dir);
  fs::remove(dir / name);
  return (dir / name).string();
}

std::vector<nlohmann::json> lines_of(const std::string& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream in(read_file(path));
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

TEST(MetricsFile, ResumeLeavesNoStepTwiceAndDropsATornLine) {
  const std::string path = scratch("metrics.jsonl");
  {
    MetricsFile file(path, 0);
    for (int step = 1; step <= 5; ++step) {
      StepMetrics m;
      m.step = step;
      file.write(m);
    }
  }
  write_file_atomically(path, read_file(path) + "{\"step\": 6, \"los");
  MetricsFile resumed(path, 3);
  StepMetrics m;
  m.step = 4;
  m.loss = 0.1 + 0.2;
  resumed.write(m);
  const auto lines = lines_of(path);
  ASSERT_EQ(lines.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(lines[i]["step"], i + 1);
  EXPECT_EQ(lines[3]["loss"].get<double>(), 0.1 + 0.2);  // every digit survives
  EXPECT_TRUE(lines[3]["mfu"].is_null());
}

TEST(EventsFile, ValuesStandBesideEventTimeAndStep) {
  const std::string path = scratch("events.jsonl");
  EventsFile(path).write("checkpoint", 12, "{\"bytes\": 34}");
  EventsFile(path).write("end", 13);
  const auto lines = lines_of(path);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["event"], "checkpoint");
  EXPECT_EQ(lines[0]["bytes"], 34);
  EXPECT_EQ(lines[1]["step"], 13);
  EXPECT_GT(lines[1]["time"].get<double>(), 1e9);
}

TEST(MetricsFile, UnwritablePathIsNamed) {
  try {
    MetricsFile file("/nonexistent/metrics.jsonl", 0);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("/nonexistent/metrics.jsonl"), std::string::npos);
  }
}

}  // namespace
}  // namespace plumbline
