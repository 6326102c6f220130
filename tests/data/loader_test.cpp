// What a loader delivers.
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>

#include "plumbline/error.h"
#include "tests/data/loader_runs.h"

namespace plumbline {
namespace {

TEST(Loader, ThreadsAndRanksDoNotChangeABatch) {
  const TempFolder folder;
  write_shards(folder);
  DataOptions options = shard_options(folder);
  options.threads = 1;
  const std::vector<std::string> expected = rows_of(options, 12, 1);
  for (const int threads : {2, 7, 16}) {
    options.threads = threads;
    EXPECT_EQ(rows_of(options, 12, 1), expected) << threads << " threads";
  }
  options.threads = 2;
  for (const int world : {2, 4}) {
    EXPECT_EQ(rows_of(options, 12, world), expected) << world << " ranks";
  }
  options.lanes = 8;
  EXPECT_EQ(rows_of(options, 12, 8), rows_of(options, 12, 1))
      << "8 ranks, of which each has a lane";
}

TEST(Loader, ResumingOnEightTwoAndFourRanksInOneEpochIsTheUninterruptedRun) {
  const TempFolder folder;
  write_shards(folder);
  DataOptions options = shard_options(folder);
  options.lanes = 8;
  const std::vector<std::string> expected = rows_of(options, 7, 1);  // of 7.5 in an epoch
  std::vector<std::string> got;
  std::optional<LoaderState> state;
  for (const auto& [steps, world] : {std::pair{1, 8}, {2, 2}, {3, 4}, {1, 8}}) {
    LoaderState end;
    const std::vector<std::string> part = rows_of(options, steps, world, state, &end);
    got.insert(got.end(), part.begin(), part.end());
    state = end;
  }
  EXPECT_EQ(got, expected);
  EXPECT_EQ(state->epoch, 0);
}

TEST(Loader, ResumingAnywhereAtAnyWorldIsTheUninterruptedRun) {
  const TempFolder folder;
  write_shards(folder);
  const DataOptions options = shard_options(folder);
  const std::vector<std::string> expected = rows_of(options, 20, 1);
  std::vector<std::string> got;
  std::optional<LoaderState> state;
  for (const auto& [steps, world] : {std::pair{3, 4}, {1, 1}, {7, 2}, {9, 1}}) {
    LoaderState end;
    const std::vector<std::string> part = rows_of(options, steps, world, state, &end);
    got.insert(got.end(), part.begin(), part.end());
    state = end;
  }
  EXPECT_EQ(got, expected);
  EXPECT_EQ(state->position, 320);
  EXPECT_EQ(state->epoch, 2);
  EXPECT_EQ(state->lanes, 4);
}

TEST(Loader, DeliversWhatPrintOrderSays) {
  const TempFolder folder;
  write_shards(folder);
  const DataOptions options = shard_options(folder);
  const Delivered delivered = deliver(options, 8);
  std::vector<std::string> planned;
  print_order(options, context_of(), 5, 3, [&](std::int64_t step, const std::vector<Row>& rows) {
    EXPECT_EQ(step, 5 + std::ssize(planned) / 16);
    for (const Row& row : rows) planned.push_back(row.key);
  });
  EXPECT_EQ(planned, std::vector<std::string>(delivered.keys.begin() + 80, delivered.keys.end()));
}

TEST(Loader, AnEpochHoldsEachSampleOnce) {
  const TempFolder folder;
  write_shards(folder);
  DataOptions options = shard_options(folder);
  options.vshard = 1;  // then every lane reads its exact share
  Loader loader(options, context_of());
  EXPECT_EQ(loader.epoch_samples(), 120);
  std::multiset<std::string> keys;
  for (int k = 0; k < 15; ++k) {  // two epochs
    const Batch* batch = loader.next();
    for (const Row& row : batch->row) keys.insert(row.key);
    loader.release(batch);
  }
  EXPECT_EQ(keys.size(), 240U);
  for (const std::string& key : keys) EXPECT_EQ(keys.count(key), 2U) << key;
  EXPECT_EQ(loader.stats().sources[0].delivered, 240);
}

TEST(Loader, CompressedShardsGiveTheSameBatches) {
  const TempFolder folder;
  write_shards(folder);
  const std::vector<std::string> expected = rows_of(shard_options(folder), 6, 1);
  if (std::system(str("gzip ", folder.path(), "/1.tar && zstd -q --rm ", folder.path(), "/2.tar")
                      .c_str()) != 0) {
    GTEST_SKIP() << "gzip or zstd is not there";
  }
  DataOptions options = shard_options(folder);
  options.sources[0].shards = {folder / "0.tar", folder / "1.tar.gz", folder / "2.tar.zst"};
  EXPECT_EQ(rows_of(options, 6, 1), expected);
}

TEST(Loader, SyntheticSources) {
  for (const char* kind : {"pixels", "jpeg"}) {
    DataOptions options = synthetic_options(kind);
    options.train_transform.views = 2;
    Loader loader(options, context_of());
    const Batch* batch = loader.next();
    ASSERT_EQ(batch->views, 2);
    ASSERT_EQ(batch->pixels_BHWC.size(), 16U * 2 * 24 * 24 * 3);
    const std::size_t view = 24 * 24 * 3;
    const auto first = batch->pixels_BHWC.subspan(0, view);
    const auto second = batch->pixels_BHWC.subspan(view, view);
    EXPECT_FALSE(std::equal(first.begin(), first.end(), second.begin())) << "two crops";
    EXPECT_EQ(batch->tokens_BL[0], 'a');
    EXPECT_EQ(loader.stats().truncated_captions, 16);
    loader.release(batch);
    options.train_transform.views = 1;
    EXPECT_EQ(rows_of(options, 3, 1), rows_of(options, 3, 2)) << kind;
  }
  EXPECT_THROW(Loader(synthetic_options("noise"), context_of()), UsageError);
}

TEST(Loader, TwoSourcesMixByWeight) {
  const TempFolder folder;
  write_shards(folder);
  DataOptions options = shard_options(folder);
  options.sources.push_back(synthetic_options("pixels").sources[0]);
  options.sources[0].weight = 3;
  Loader loader(options, context_of());
  for (int k = 0; k < 250; ++k) loader.release(loader.next());  // one period of each lane
  const LoaderStats stats = loader.stats();
  EXPECT_EQ(stats.sources[0].delivered, 3000);
  EXPECT_EQ(stats.sources[1].delivered, 1000);
}

TEST(Loader, EndsQuicklyAtAnyMoment) {
  DataOptions options = synthetic_options("pixels");
  options.sources[0].synthetic_size = 1000;
  LoaderContext context = context_of();
  for (const std::int64_t rows : {256, 8}) {  // in mid-batch; with a ring that nobody empties
    context.global_batch = rows;
    auto loader = std::make_unique<Loader>(options, context);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const auto start = std::chrono::steady_clock::now();
    loader.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  }
}

TEST(Loader, NamesTheMistakeOfNeverReleasing) {
  Loader loader(synthetic_options("pixels"), context_of());
  for (int k = 0; k < 3; ++k) (void)loader.next();
  EXPECT_THROW((void)loader.next(), InternalError);
}

TEST(Loader, StaysBelowTheMemoryBound) {
  DataOptions options = synthetic_options("jpeg");
  Loader loader(options, context_of());
  EXPECT_LE(loader.memory_bound(), options.memory_mb << 20);
  EXPECT_GT(loader.memory_bound(), 0);
}

}  // namespace
}  // namespace plumbline
