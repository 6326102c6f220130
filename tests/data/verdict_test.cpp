// Stage times, the verdict about them, and the name of a stall.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "data/rank_sums.h"
#include "plumbline/error.h"
#include "tests/data/loader_runs.h"

namespace plumbline {
namespace {

LoaderStats stats_of(double build_busy_s, double wait_s) {
  LoaderStats stats;
  stats.elapsed_s = 100;
  stats.consumer_wait_s = wait_s;
  stats.plan.threads = 1;
  stats.read.threads = 4;
  stats.build.threads = 8;
  stats.build.busy_s = build_busy_s;
  stats.decode_s = 0.6 * build_busy_s;
  stats.resize_s = 0.3 * build_busy_s;
  stats.sources.resize(2);
  stats.sources[0].name = "fast";
  stats.sources[1].name = "slow";
  stats.sources[1].read_s = 50;
  stats.sources[1].bytes = 100'000'000;
  return stats;
}

TEST(Verdict, NamesWhatLimits) {
  EXPECT_EQ(loader_verdict(stats_of(400, 0.1), 100),
            "bound by: training; the loader was 50 % busy and could deliver 2 times as much");
  EXPECT_EQ(
      loader_verdict(stats_of(752, 60), 100),
      "bound by: image decoding on this host, 94 % busy; the trainer waited 60 % of the time; "
      "12 more cores would feed it");
  LoaderStats reading = stats_of(80, 40);
  reading.build.input_s = 700;
  EXPECT_EQ(loader_verdict(reading, 100),
            "bound by: reading slow (2 MB/s a reader); the trainer waited 40 % of the time; faster "
            "disks or data.cache would feed it");
  LoaderStats memory = stats_of(80, 40);
  memory.plan.memory_s = 80;
  EXPECT_NE(loader_verdict(memory, 100).find("data.memory_mb"), std::string::npos);
  EXPECT_NE(loader_verdict(stats_of(400, 40), 100).find("no single stage"), std::string::npos);
}

TEST(Verdict, SpeaksForAllRanks) {
  // Rank 1 decodes all the time and waits for it; rank 0, asked alone, sees nothing of that.
  LoaderStats quick = stats_of(10, 0), slow = stats_of(790, 60);
  quick.sources.resize(1);
  slow.sources.resize(1);
  slow.sources[0].delivered = 7;
  slow.sources[0].bad[2] = 3;
  slow.sources[0].excluded[1] = quick.sources[0].excluded[1] = 5;
  EXPECT_NE(loader_verdict(quick, 100).find("bound by: training"), std::string::npos);
  const std::vector<double> a = loader_numbers(quick), b = loader_numbers(slow);
  ASSERT_EQ(a.size(), b.size());
  std::vector<double> sums;
  for (std::size_t i = 0; i < a.size(); ++i) sums.push_back(a[i] + b[i]);
  const LoaderStats all = over_ranks(quick, sums, 2, slow.consumer_wait_s);
  EXPECT_EQ(all.build.threads, 16);
  EXPECT_EQ(all.build.busy_s, quick.build.busy_s + slow.build.busy_s);
  EXPECT_EQ(all.elapsed_s, (quick.elapsed_s + slow.elapsed_s) / 2);
  EXPECT_EQ(all.sources[0].delivered, 7);
  EXPECT_EQ(all.bad_samples(), 3);
  EXPECT_EQ(all.sources[0].excluded[1], 5) << "the same on every rank";
  EXPECT_NE(loader_verdict(all, 100).find("the trainer waited 60 %"), std::string::npos)
      << loader_verdict(all, 100);
  EXPECT_THROW((void)over_ranks(quick, {sums.data(), sums.size() - 1}, 2, 0), InternalError);
}

TEST(SameData, NamesTheRankAndTheSourceThatDiffer) {
  const std::string a = "settings:1;one:10:aa;two:20:bb";
  EXPECT_NO_THROW(check_same_data(std::vector<std::string>{a, a, a}));
  for (const std::string b : {"settings:1;one:10:aa;two:21:cc", "settings:1;one:10:aa"}) {
    try {
      check_same_data(std::vector<std::string>{a, a, b});
      FAIL() << "rank 2 differs";
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find("rank 2"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("instead of two:20:bb"), std::string::npos)
          << error.what();
    }
  }
}

TEST(Verdict, ALoaderMeasuresItsStages) {
  DataOptions options = synthetic_options("jpeg");
  options.sources[0].synthetic_size = 400;
  Loader loader(options, context_of());
  for (int k = 0; k < 10; ++k) loader.release(loader.next());
  const LoaderStats stats = loader.stats();
  EXPECT_GT(stats.build.busy_s, 0);
  EXPECT_GT(stats.decode_s, 0.3 * stats.build.busy_s) << "most work of a large JPEG is decoding";
  EXPECT_GT(stats.consumer_wait_s, 0) << "this consumer does nothing but wait";
  for (const StageTimes* stage : {&stats.plan, &stats.read, &stats.build}) {
    const double all = stage->busy_s + stage->input_s + stage->output_s + stage->memory_s;
    EXPECT_NEAR(all, stage->threads * stats.elapsed_s,
                0.1 * stage->threads * stats.elapsed_s + 0.05)
        << "a thread is always in one state";
  }
  const auto report = nlohmann::json::parse(loader_report(stats));
  EXPECT_EQ(report["sources"][0]["delivered"], 160);
  EXPECT_EQ(loader_verdict(stats, stats.elapsed_s).substr(0, 10), "bound by: ");
}

TEST(Activity, NamesTheShardThatHangs) {
  const TempFolder folder;
  write_shards(folder);
  DataOptions options = shard_options(folder);
  options.sources[0].shards = {"pipe:test -e " + folder / "slow" + " && sleep 100; cat " +
                               folder / "{0..2}.tar"};
  options.allow_pipe = true;
  options.index_dir = folder.path();
  (void)rows_of(options, 1, 1);  // makes the index
  folder.write("slow", "");
  Loader loader(options, context_of());
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const std::string activity = loader.activity();
  EXPECT_NE(activity.find("reading shard pipe:"), std::string::npos) << activity;
  EXPECT_NE(activity.find(".tar of source pictures at byte"), std::string::npos) << activity;
}

}  // namespace
}  // namespace plumbline
