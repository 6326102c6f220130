// A survey counts what indexes say and leaves everything as it is.
#include "data/survey.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "data/captions.h"
#include "data/shard_index.h"
#include "plumbline/error.h"
#include "tests/data/fixture.h"

namespace plumbline {
namespace {

std::size_t files_in(const std::string& folder) {
  std::size_t n = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) n += entry.exists() ? 1 : 0;
  return n;
}

DataOptions shards_of(const TempFolder& folder, const std::string& pattern) {
  DataOptions options;
  options.sources.resize(1);
  options.sources[0].name = "shards";
  options.sources[0].shards = {folder / pattern};
  return options;
}

TEST(Survey, CountsIndexedShardsAndWritesNothing) {
  const TempFolder folder;
  folder.write("a.tar", tar_of(samples_of("a", 3)));
  folder.write("b.tar", tar_of(samples_of("b", 4)));
  const DataOptions options = shards_of(folder, "*.tar");
  const SourceSurvey before = survey_sources(options).at(0);
  EXPECT_EQ(before.shards, 2);
  EXPECT_EQ(before.indexed, 0);
  EXPECT_EQ(before.samples, 0);
  EXPECT_EQ(files_in(folder.path()), 2U);

  const IndexSettings settings = index_settings(options.sources[0]);
  const IndexedShard made(folder / "b.tar", settings, "", std::make_shared<ShardAccess>(), true);
  const SourceSurvey after = survey_sources(options).at(0);
  EXPECT_EQ(after.indexed, 1);
  EXPECT_EQ(after.samples, 4);
  EXPECT_EQ(after.bytes, static_cast<std::int64_t>(std::filesystem::file_size(folder / "b.tar")));
  EXPECT_GT(after.caption_bytes, 0);

  folder.write("b.tar", tar_of(samples_of("b", 5)));  // the index no longer fits
  EXPECT_EQ(survey_sources(options).at(0).indexed, 0);
}

TEST(Survey, WhatIsNotThereIsAnError) {
  const TempFolder folder;
  EXPECT_THROW((void)survey_sources(shards_of(folder, "{0..2}.tar")), UsageError);
  DataOptions table;
  table.sources.resize(1);
  table.sources[0].manifest = folder / "absent.csv";
  EXPECT_THROW((void)survey_sources(table), UsageError);
  DataOptions synthetic;
  synthetic.sources.resize(1);
  synthetic.sources[0].synthetic = "pixels";
  synthetic.sources[0].synthetic_samples = 7;
  EXPECT_EQ(survey_sources(synthetic).at(0).samples, 7);
}

}  // namespace
}  // namespace plumbline
