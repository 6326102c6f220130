// What keeps a run alive: the guard against bad steps, the comparison of replicas, moments in
// several files, the best checkpoint.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <mutex>

#include "core/file.h"
#include "dist/agree.h"
#include "train/checkpoint.h"
#include "train/guard.h"
#include "train/progress.h"
#include "train/replicas.h"
#include "train/trainer.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

SpikeOptions spikes(const std::string& action) {
  SpikeOptions options;
  options.action = action;
  options.window = 20;
  return options;
}

/// A loss that trembles around 2, for `steps` steps.
void train_well(Guard& guard, std::int64_t first, std::int64_t steps) {
  for (std::int64_t k = first; k < first + steps; ++k) {
    ASSERT_EQ(guard.judge(k, 2 + 0.1 * std::sin(static_cast<double>(k)), 1), Health::good) << k;
  }
}

TEST(Guard, StepsThatAreNotFiniteAreSkippedThenRolledBackThenGivenUp) {
  NanOptions nan;
  nan.max_consecutive = 3;
  Guard guard(nan, spikes("log"));
  train_well(guard, 1, 10);
  EXPECT_EQ(guard.judge(11, kNan, 1), Health::not_finite);
  EXPECT_TRUE(guard.skips(Health::not_finite));
  EXPECT_TRUE(guard.in_trouble());
  EXPECT_EQ(guard.judge(12, 2, INFINITY), Health::not_finite);
  EXPECT_FALSE(guard.wants_rollback());
  EXPECT_EQ(guard.judge(13, kNan, kNan), Health::not_finite);
  ASSERT_TRUE(guard.wants_rollback());
  ASSERT_TRUE(guard.may_roll_back());
  // Step 11 was the first bad one: the weights after step 10 made it, those after step 9 did not.
  EXPECT_EQ(guard.choose({12, 10, 8, 4}), 8);
  EXPECT_EQ(guard.choose({12, 10}), 10) << "nothing older";
  EXPECT_EQ(guard.choose({12, 11}), -1);
  guard.rolled_back({}, 8, 13);
  EXPECT_FALSE(guard.wants_rollback());
  EXPECT_FALSE(guard.in_trouble());
  for (std::int64_t k = 14; k < 17; ++k) EXPECT_EQ(guard.judge(k, kNan, 1), Health::not_finite);
  ASSERT_TRUE(guard.wants_rollback());
  EXPECT_FALSE(guard.may_roll_back()) << "nan.max_rollbacks is 1";
  EXPECT_EQ(guard.choose({13, 10, 8}), 8) << "not 10, which the first rollback undid";
  EXPECT_EQ(guard.choose({13, 10}), 13);
}

TEST(Guard, AGoodStepEndsTheCount) {
  NanOptions nan;
  nan.max_consecutive = 2;
  Guard guard(nan, spikes("off"));
  for (std::int64_t k = 1; k < 20; ++k) {
    (void)guard.judge(k, k % 2 == 0 ? kNan : 1.0, 1);
    EXPECT_FALSE(guard.wants_rollback());
  }
}

TEST(Guard, ASpikeIsFarAboveTheMeanOfLossOrNorm) {
  Guard guard({}, spikes("log"));
  EXPECT_EQ(guard.judge(1, 100, 1), Health::good) << "nothing is known yet";
  train_well(guard, 2, 200);
  EXPECT_EQ(guard.judge(202, 2.3, 1), Health::good);
  EXPECT_EQ(guard.judge(203, 9, 1), Health::spike);
  EXPECT_EQ(guard.judge(204, 2, 50), Health::spike);
  EXPECT_EQ(guard.judge(205, 0.1, 0.1), Health::good) << "falling is no spike";
  EXPECT_FALSE(guard.skips(Health::spike));
  EXPECT_FALSE(guard.wants_rollback()) << "log only";
}

TEST(Guard, ALastingRiseStopsBeingASpike) {
  Guard guard({}, spikes("log"));
  train_well(guard, 1, 60);
  std::int64_t k = 61;
  while (k < 400 && guard.judge(k, 9, 1) == Health::spike) ++k;
  EXPECT_GT(k, 61);
  EXPECT_LT(k, 400);
}

TEST(Guard, ThreeSpikesWithinTwentyStepsRollBack) {
  Guard guard({}, spikes("rollback"));
  train_well(guard, 1, 60);
  EXPECT_EQ(guard.judge(61, 9, 1), Health::spike);
  train_well(guard, 62, 20);  // too long ago
  EXPECT_EQ(guard.judge(82, 50, 1), Health::spike);
  EXPECT_EQ(guard.judge(83, 500, 1), Health::spike);
  EXPECT_FALSE(guard.wants_rollback());
  EXPECT_EQ(guard.judge(84, 5000, 1), Health::spike);
  ASSERT_TRUE(guard.wants_rollback());
  EXPECT_EQ(guard.trouble(), Health::spike);
  EXPECT_EQ(guard.choose({83, 81, 80, 60}), 80);
}

TEST(Guard, SkipLeavesTheUpdateOut) {
  Guard guard({}, spikes("skip"));
  EXPECT_TRUE(guard.skips(Health::spike));
  EXPECT_FALSE(guard.skips(Health::good));
}

TEST(Guard, ItsStateGoesThroughACheckpointBitForBit) {
  Guard guard({}, spikes("rollback"));
  train_well(guard, 1, 60);
  EXPECT_EQ(guard.judge(61, 9, 1), Health::spike);
  guard.rolled_back(guard.state(), 40, 61);
  RunProgress progress;
  progress.guard = guard.state();
  Guard resumed({}, spikes("rollback"));
  resumed.load(parse_progress(progress_json(progress)).guard);
  EXPECT_EQ(resumed.state().loss.variance, guard.state().loss.variance);
  EXPECT_EQ(resumed.state().rollbacks.size(), 1U);
  EXPECT_EQ(resumed.state().rollbacks[0].why, Health::spike);
  for (std::int64_t k = 62; k < 70; ++k) {
    const double loss = 2 + 0.2 * static_cast<double>(k % 4);
    EXPECT_EQ(guard.judge(k, loss, 1), resumed.judge(k, loss, 1));
    EXPECT_EQ(guard.state().loss.mean, resumed.state().loss.mean);
  }
}

TEST(Replicas, AFlippedBitIsFoundAndTheRankNamed) {
  for (const int world : {2, 3, 5}) {
    std::mutex mutex;
    std::vector<std::string> errors;
    run_in_process(world, [&](Communicator& ranks) {
      at::Tensor weight = torch::arange(1000, torch::kFloat).sin();
      const NamedTensors weights = {{"a", torch::ones({3, 4})}, {"b", weight}};
      check_replicas(weights, ranks, 10);  // alike
      if (ranks.rank() == 1) {
        auto* bits = static_cast<std::uint32_t*>(weight.data_ptr());
        bits[777] ^= 1U;
      }
      try {
        check_replicas(weights, ranks, 20);
      } catch (const AgreedError& e) {
        const std::lock_guard lock(mutex);
        EXPECT_EQ(e.code(), ExitCode::resumable);
        errors.emplace_back(e.what());
      }
    });
    ASSERT_EQ(errors.size(), static_cast<std::size_t>(world)) << "every rank must stop";
    for (const std::string& error : errors) {
      EXPECT_NE(error.find("after step 20"), std::string::npos) << error;
      EXPECT_NE(error.find("rank 1 on "), std::string::npos) << error;
      EXPECT_EQ(error.find("rank 0 on ") == std::string::npos, world > 2) << error;
    }
  }
}

class MomentFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / str("plumbline_moments_", ::getpid());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  /// Two parameters of 12 and 5 elements, cut into `world` ranges of the 17.
  std::vector<std::string> write_on(int world) {
    std::vector<std::string> paths;
    for (int rank = 0; rank < world; ++rank) {
      const std::int64_t begin = 17 * rank / world, end = 17 * (rank + 1) / world;
      Moments moments;
      std::int64_t start = 0;
      for (const auto& [name, whole] : parameters_) {
        const std::int64_t first = std::clamp<std::int64_t>(begin - start, 0, whole.numel());
        const std::int64_t last = std::clamp<std::int64_t>(end - start, 0, whole.numel());
        start += whole.numel();
        if (first == last) continue;
        const at::Tensor part = whole.view({-1}).narrow(0, first, last - first).clone();
        moments.tensors.emplace_back("exp_avg." + name, part);
        moments.tensors.emplace_back("exp_avg_sq." + name, part * 2);
        moments.slices[name] = {first, whole.sizes().vec()};
      }
      const auto files = write_moments(dir_.string(), moments, rank, world);
      EXPECT_EQ(files.at(0).name, moments_file_name(rank, world));
      paths.push_back(dir_.string() + "/" + files.at(0).name);
    }
    return paths;
  }

  fs::path dir_;
  NamedTensors parameters_ = {{"w", torch::arange(12, torch::kFloat).view({3, 4})},
                              {"b", torch::arange(5, torch::kFloat) - 3}};
};

TEST_F(MomentFiles, AnyNumberOfRanksGivesTheSameMoments) {
  for (const int world : {1, 2, 3, 4, 7}) {
    const NamedTensors read = read_moments(write_on(world), parameters_);
    ASSERT_EQ(read.size(), 4U) << world;
    EXPECT_EQ(read[0].first, "exp_avg.w");
    EXPECT_EQ(read[1].first, "exp_avg_sq.w");
    EXPECT_EQ(read[2].first, "exp_avg.b");
    EXPECT_TRUE(torch::equal(read[0].second, parameters_[0].second)) << world;
    EXPECT_TRUE(torch::equal(read[1].second, parameters_[0].second * 2)) << world;
    EXPECT_TRUE(torch::equal(read[2].second, parameters_[1].second)) << world;
  }
}

TEST_F(MomentFiles, AGapAndAnOverlapAreDamage) {
  std::vector<std::string> paths = write_on(4);
  std::vector<std::string> twice = paths;
  twice.push_back(paths[1]);
  EXPECT_THROW((void)read_moments(twice, parameters_), DataError);
  paths.erase(paths.begin() + 1);
  EXPECT_THROW((void)read_moments(paths, parameters_), DataError);
}

TEST_F(MomentFiles, TheBestCheckpointSurvivesPruning) {
  Checkpoint checkpoint;
  checkpoint.model = {{"a", torch::ones({2})}};
  checkpoint.model_json = "{}";
  const std::string dir = dir_.string();
  EXPECT_EQ(read_best(dir, "set.top1"), std::nullopt);
  for (std::int64_t step = 1; step <= 5; ++step) {
    checkpoint.progress.step = step;
    write_checkpoint(dir, checkpoint);
    if (step == 2) write_best(dir, {"set.top1", 0.5, step});
    prune_checkpoints(dir, 1, 0, read_best(dir, "set.top1").value_or(BestCheckpoint{}).step);
  }
  EXPECT_EQ(list_checkpoints(dir), (std::vector<std::string>{dir + "/" + checkpoint_name(5),
                                                             dir + "/" + checkpoint_name(2)}));
  EXPECT_EQ(read_best(dir, "other.top1"), std::nullopt) << "of another metric";
  write_file_atomically(dir + "/best.json", "{\"metric\":");
  EXPECT_EQ(read_best(dir, "set.top1"), std::nullopt) << "torn";
}

TEST(KeepBest, NamesASetAndAMetric) {
  EvalSuite suite;
  suite.sets.resize(1);
  suite.sets[0].name = "pictures";
  EXPECT_NO_THROW(check_metric(suite, "pictures.mean_per_class"));
  for (const char* wrong : {"pictures", "pictures.loss", "other.top1", "top1"}) {
    EXPECT_THROW(check_metric(suite, wrong), UsageError) << wrong;
  }
  EvalResults results;
  results.sets.resize(1);
  results.sets[0].options.name = "pictures";
  results.sets[0].top1 = 0.25;
  EXPECT_EQ(value_of(results, "pictures.top1"), 0.25);
  EXPECT_EQ(value_of(results, "pictures.top5"), std::nullopt);
}

}  // namespace
}  // namespace plumbline
