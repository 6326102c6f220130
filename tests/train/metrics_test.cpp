#include "train/metrics.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "plumbline/error.h"
#include "train/peak_flops.h"

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

TEST(AppendFile, AFullDiskLosesWholeRecordsAndSaysSoOnce) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this machine";
  std::vector<std::string> told;
  AppendFile file("/dev/full", [&](const std::string& what) { told.push_back(what); });
  file.append("a\n");
  file.append("b\n");
  EXPECT_EQ(file.lost(), 2);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find("/dev/full: No space left"), std::string::npos) << told[0];
}

TEST(AppendFile, HalfARecordIsTakenBack) {
  const std::string path = scratch("limited");
  struct rlimit before {};
  getrlimit(RLIMIT_FSIZE, &before);
  std::vector<std::string> told;
  AppendFile file(path, [&](const std::string& what) { told.push_back(what); });
  file.append("first\n");
  std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 10;
  setrlimit(RLIMIT_FSIZE, &small);
  file.append("second\n");  // four bytes fit
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(read_file(path), "first\n");
  file.append("third\n");
  EXPECT_EQ(read_file(path), "first\nthird\n");
  ASSERT_EQ(told.size(), 2U);
  EXPECT_NE(told[1].find("1 records before this one are lost"), std::string::npos) << told[1];
}

TEST(PeakFlops, FollowsTheModelOfTheGpu) {
  EXPECT_EQ(bf16_peak_flops("NVIDIA H100 80GB HBM3"), 989e12);
  EXPECT_EQ(bf16_peak_flops("NVIDIA H100 PCIe"), 756e12);
  EXPECT_EQ(bf16_peak_flops("NVIDIA A100-SXM4-80GB"), 312e12);
  EXPECT_EQ(bf16_peak_flops("Unheard-of GPU"), 0);
  const std::string folder = scratch("gpus");
  fs::create_directories(folder + "/0000:01:00.0");
  write_file_atomically(folder + "/0000:01:00.0/information", "Model: \t\t NVIDIA H200\nIRQ: 1\n");
  EXPECT_EQ(host_gpu_model(folder), "NVIDIA H200");
  fs::remove_all(folder);
  EXPECT_EQ(host_gpu_model(folder), "");
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
