#include "train/checkpoint.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <fstream>

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / ("plumbline_checkpoint_" + std::to_string(::getpid()));
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  [[nodiscard]] std::string dir() const { return dir_.string(); }
  [[nodiscard]] std::string folder(std::int64_t step) const {
    return dir() + "/" + checkpoint_name(step);
  }

  static Checkpoint make(std::int64_t step) {
    Checkpoint c;
    c.model = {{"a.weight", torch::arange(6, torch::kFloat).reshape({2, 3})},
               {"a.count", torch::tensor(std::int64_t{7})}};
    c.optimizer = {{"exp_avg.a.weight", torch::full({2, 3}, 0.25)},
                   {"exp_avg_sq.a.weight", torch::full({2, 3}, 0.5)}};
    c.progress.step = step;
    c.progress.samples = 16 * step;
    c.progress.applied_steps = step - 1;
    c.progress.skipped_steps = 1;
    c.progress.loader.position = 16 * step;
    c.progress.loader.fingerprint = "f00d";
    c.progress.loader.seed = ~std::uint64_t{0};
    c.progress.loader.lanes = 8;
    c.config_yaml = "run:\n  name: x\n";
    c.model_json = "{\"embed_dim\":3}";
    return c;
  }

  fs::path dir_;
};

TEST_F(CheckpointTest, RoundTripIsExact) {
  write_checkpoint(dir(), make(1000));
  EXPECT_EQ(verify_checkpoint(folder(1000)), "");
  EXPECT_EQ(read_file(dir() + "/latest"), "step-00001000\n");
  const Checkpoint read = read_checkpoint(folder(1000));
  const Checkpoint written = make(1000);
  ASSERT_EQ(read.model.size(), 2U);
  EXPECT_EQ(read.model[0].first, "a.weight");
  EXPECT_TRUE(torch::equal(read.model[0].second, written.model[0].second));
  EXPECT_TRUE(torch::equal(read.model[1].second, written.model[1].second));
  EXPECT_TRUE(torch::equal(read.optimizer[1].second, written.optimizer[1].second));
  EXPECT_EQ(read.progress.step, 1000);
  EXPECT_EQ(read.progress.applied_steps, 999);
  EXPECT_EQ(read.progress.loader.seed, ~std::uint64_t{0});
  EXPECT_EQ(read.progress.loader.fingerprint, "f00d");
  EXPECT_EQ(read.config_yaml, written.config_yaml);
  EXPECT_EQ(read.model_json, written.model_json);
  for (const auto& entry : fs::directory_iterator(folder(1000))) {
    EXPECT_FALSE(entry.path().string().ends_with(".tmp")) << entry.path();
  }
}

TEST_F(CheckpointTest, AveragedWeightsAreAFileOfTheirOwn) {
  Checkpoint checkpoint = make(3);
  checkpoint.ema = {{"a.weight", torch::full({2, 3}, 2.5)}, {"a.count", torch::tensor(7)}};
  write_checkpoint(dir(), checkpoint);
  const Checkpoint read = read_checkpoint(folder(3), false);
  EXPECT_TRUE(torch::equal(read.ema.at(0).second, torch::full({2, 3}, 2.5)));
  EXPECT_TRUE(torch::equal(read.model.at(0).second, make(3).model.at(0).second));
  EXPECT_EQ(resolve_checkpoint(folder(3) + "/model_ema.safetensors"), folder(3));
  fs::resize_file(folder(3) + "/model_ema.safetensors", 12);
  EXPECT_NE(verify_checkpoint(folder(3)).find("model_ema"), std::string::npos);
  write_checkpoint(dir(), make(3));  // the same step again, of a run without the average
  EXPECT_FALSE(fs::exists(folder(3) + "/model_ema.safetensors"));
  EXPECT_TRUE(read_checkpoint(folder(3)).ema.empty());
}

TEST_F(CheckpointTest, AnyFlippedOrMissingByteOfAnyFileIsFound) {
  write_checkpoint(dir(), make(5));
  for (const char* name :
       {"model.safetensors", "optimizer-00000-of-00001.safetensors", "state.json"}) {
    const std::string path = folder(5) + "/" + name;
    const std::string whole = read_file(path);
    for (const std::size_t at : {std::size_t{0}, whole.size() / 2, whole.size() - 1}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ 1);
      write_file_atomically(path, damaged);
      EXPECT_NE(verify_checkpoint(folder(5)).find("checksum"), std::string::npos) << name << at;
      EXPECT_THROW((void)read_checkpoint(folder(5)), DataError);
    }
    write_file_atomically(path, whole.substr(0, whole.size() - 1));
    EXPECT_NE(verify_checkpoint(folder(5)).find("bytes"), std::string::npos) << name;
    fs::remove(path);
    EXPECT_NE(verify_checkpoint(folder(5)).find("missing"), std::string::npos) << name;
    write_file_atomically(path, whole);
  }
  EXPECT_EQ(verify_checkpoint(folder(5)), "");
  write_file_atomically(folder(5) + "/manifest.json", "{\"format\": ");
  EXPECT_NE(verify_checkpoint(folder(5)).find("manifest"), std::string::npos);
}

TEST_F(CheckpointTest, NewestIntactOneIsTaken) {
  std::vector<std::string> reports;
  const auto report = [&](const std::string& line) { reports.push_back(line); };
  EXPECT_EQ(newest_checkpoint(dir(), report), std::nullopt);
  write_checkpoint(dir(), make(1));
  write_checkpoint(dir(), make(2));
  write_checkpoint(dir(), make(10));
  EXPECT_EQ(newest_checkpoint(dir(), report), folder(10));
  EXPECT_TRUE(reports.empty());
  fs::resize_file(folder(10) + "/model.safetensors", 20);
  fs::remove(folder(2) + "/manifest.json");
  EXPECT_EQ(newest_checkpoint(dir(), report), folder(1));
  EXPECT_EQ(reports.size(), 2U);
  EXPECT_TRUE(fs::exists(folder(10) + ".corrupt"));
  EXPECT_FALSE(fs::exists(folder(2))) << "never completed";
  EXPECT_FALSE(fs::exists(folder(2) + ".corrupt"));
  fs::resize_file(folder(1) + "/state.json", 1);
  EXPECT_THROW((void)newest_checkpoint(dir(), report), DataError);
  EXPECT_TRUE(list_checkpoints(dir()).empty());
  EXPECT_THROW((void)newest_checkpoint(dir(), report), DataError) << "never anew over a lost run";
}

TEST_F(CheckpointTest, AWriteCutShortIsNoDamage) {
  fs::create_directories(folder(3));
  std::ofstream(folder(3) + "/model.safetensors") << "half";
  EXPECT_EQ(newest_checkpoint(dir(), [](const std::string&) {}), std::nullopt);
}

TEST_F(CheckpointTest, PruneKeepsTheNewestAndTheMilestones) {
  for (std::int64_t step = 1; step <= 10; ++step) write_checkpoint(dir(), make(step));
  prune_checkpoints(dir(), 2, 4);
  std::vector<std::string> names;
  for (const std::string& path : list_checkpoints(dir())) names.push_back(path);
  EXPECT_EQ(names, (std::vector<std::string>{folder(10), folder(9), folder(8), folder(4)}));
}

TEST_F(CheckpointTest, PruneRemovesCorruptAndUnfinishedOnesBelowTheNewest) {
  write_checkpoint(dir(), make(20));
  for (const char* name : {"/step-00000005", "/step-00000006.corrupt", "/step-00000030.corrupt",
                           "/step-00000031", "/notes.corrupt"}) {
    fs::create_directories(dir() + name);
  }
  prune_checkpoints(dir(), 2, 0);
  EXPECT_FALSE(fs::exists(dir() + "/step-00000005"));
  EXPECT_FALSE(fs::exists(dir() + "/step-00000006.corrupt"));
  EXPECT_TRUE(fs::exists(dir() + "/step-00000030.corrupt")) << "newer than the newest intact one";
  EXPECT_TRUE(fs::exists(dir() + "/step-00000031")) << "perhaps being written";
  EXPECT_TRUE(fs::exists(dir() + "/notes.corrupt"));
  EXPECT_EQ(verify_checkpoint(folder(20)), "");
}

TEST_F(CheckpointTest, StepsBeyondEightDigitsAreTheNewest) {
  write_checkpoint(dir(), make(99'999'999));
  write_checkpoint(dir(), make(100'000'000));
  EXPECT_EQ(list_checkpoints(dir()),
            (std::vector<std::string>{dir() + "/step-100000000", dir() + "/step-99999999"}));
  prune_checkpoints(dir(), 1, 0);
  EXPECT_EQ(newest_checkpoint(dir(), [](const std::string&) {}), dir() + "/step-100000000");
}

TEST_F(CheckpointTest, FullDiskLeavesTheOlderOneAndNoHalf) {
  write_checkpoint(dir(), make(1));
  // A file where the folder should stand fails like a disk that takes no more.
  std::ofstream(folder(2)) << "in the way";
  EXPECT_THROW((void)write_checkpoint(dir(), make(2)), Error);
  EXPECT_EQ(read_file(dir() + "/latest"), "step-00000001\n");
  EXPECT_EQ(verify_checkpoint(folder(1)), "");
  if (fs::exists("/dev/full")) {
    EXPECT_THROW(write_file_atomically("/dev/full/x", "y"), Error);
  }
}

TEST_F(CheckpointTest, ResolveTakesRunFolderFolderOrFile) {
  const std::string run = dir() + "/run";
  write_checkpoint(run + "/checkpoints", make(7));
  const std::string expected = run + "/checkpoints/step-00000007";
  EXPECT_EQ(resolve_checkpoint(run), expected);
  EXPECT_EQ(resolve_checkpoint(run + "/checkpoints"), expected);
  EXPECT_EQ(resolve_checkpoint(expected), expected);
  EXPECT_EQ(resolve_checkpoint(expected + "/model.safetensors"), expected);
  EXPECT_THROW((void)resolve_checkpoint(dir() + "/nowhere"), UsageError);
}

}  // namespace
}  // namespace plumbline
