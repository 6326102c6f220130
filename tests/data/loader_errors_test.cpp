// What a loader does about bad samples, damaged shards and wrong options.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/file.h"
#include "data/source.h"
#include "plumbline/error.h"
#include "tests/data/loader_runs.h"

namespace plumbline {
namespace {

/// Samples whose number is a multiple of `every` are broken, each in another way.
Members broken_samples(int count, int every) {
  Members members = samples_of("k", count);
  for (int i = 0; i < count; i += every) {
    auto& image = members[static_cast<std::size_t>(2 * i)].second;
    auto& text = members[static_cast<std::size_t>(2 * i + 1)].second;
    switch (i / every % 4) {
      case 0:
        image.resize(image.size() / 2);
        break;
      case 1:
        image = "<html>not found</html>";
        break;
      case 2:
        text = "\xff\xfe";
        break;
      default:
        text = " \n";
        break;
    }
  }
  return members;
}

TEST(Loader, BadSamplesAreCountedAndReplacedTheSameWay) {
  const TempFolder folder;
  folder.write("0.tar", tar_of(broken_samples(80, 8)));
  DataOptions options = shard_options(folder);
  options.sources[0].shards = {folder / "0.tar"};
  options.errors.max_rate = 1;
  const std::vector<std::string> expected = rows_of(options, 10, 1);
  options.threads = 7;
  EXPECT_EQ(rows_of(options, 10, 4), expected);

  LoaderContext context = context_of();
  context.quarantine_path = folder / "quarantine.jsonl";
  Loader loader(options, context);
  std::int64_t replaced = 0;
  for (int k = 0; k < 10; ++k) {
    const Batch* batch = loader.next();
    for (const Row& row : batch->row) {
      replaced += row.substitute ? 1 : 0;
      EXPECT_NE(std::stoi(row.key.substr(1)) % 8, 0) << row.key;
    }
    loader.release(batch);
  }
  const LoaderStats stats = loader.stats();
  const SourceCounts& counts = stats.sources[0];
  EXPECT_EQ(counts.delivered, 160);
  EXPECT_EQ(counts.substitutes, replaced);
  EXPECT_GE(replaced, 16) << "a tenth of the rows was planned to be bad";
  for (const BadSampleClass c : {BadSampleClass::decode, BadSampleClass::unsupported,
                                 BadSampleClass::tokenizer, BadSampleClass::empty_text}) {
    EXPECT_GT(counts.bad[static_cast<std::size_t>(c)], 0) << name_of(c);
  }
  const std::string quarantine = read_file(folder / "quarantine.jsonl");
  EXPECT_EQ(std::count(quarantine.begin(), quarantine.end(), '\n'), stats.bad_samples());
  EXPECT_NE(quarantine.find("\"class\":\"unsupported\""), std::string::npos);
}

void expect_data_error(const DataOptions& options, const std::vector<std::string>& words) {
  try {
    Loader loader(options, context_of());
    for (int k = 0; k < 200; ++k) loader.release(loader.next());
    FAIL() << "no error";
  } catch (const DataError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    for (const std::string& word : words) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << word << " in: " << error.what();
    }
  }
}

TEST(Loader, ASpentBudgetStopsTheRun) {
  const TempFolder folder;
  folder.write("0.tar", tar_of(broken_samples(80, 8)));
  DataOptions options = shard_options(folder);
  options.sources[0].shards = {folder / "0.tar"};
  expect_data_error(options, {"pictures", "max_rate", "unsupported", "k0000"});
  options.errors = {1, 1};
  expect_data_error(options, {"max_consecutive"});
}

TEST(Loader, WhollyBadDataStopsTheRun) {
  const TempFolder folder;
  folder.write("0.tar", tar_of(broken_samples(40, 1)));
  DataOptions options = shard_options(folder);
  options.sources[0].shards = {folder / "0.tar"};
  options.errors = {1, 1000};
  expect_data_error(options, {"no usable sample", "pictures", "0.tar"});

  folder.write("0.tar", tar_of({{"a.gif", "x"}, {"a.txt", "t"}}));
  expect_data_error(options, {"no usable sample", "2 members", "jpg, png", "txt"});
}

TEST(Loader, UsageErrors) {
  const TempFolder folder;
  write_shards(folder);
  const auto refuses = [&](const char* word, auto change) {
    DataOptions options = shard_options(folder);
    change(options);
    try {
      const Loader loader(options, context_of());
      ADD_FAILURE() << "no error: " << word;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  refuses("missing", [&](DataOptions& o) { o.sources[0].shards = {folder / "{0..9}.tar"}; });
  refuses("memory_mb", [](DataOptions& o) { o.memory_mb = 10; });
  refuses("lanes", [](DataOptions& o) { o.lanes = 5; });
  refuses("mode", [](DataOptions& o) { o.train_transform.mode = "warp"; });
  refuses("sampling", [](DataOptions& o) { o.sampling = "any"; });
  refuses("two sources", [](DataOptions& o) { o.sources.push_back(o.sources[0]); });
  refuses("usable", [&](DataOptions& o) {
    Members members = samples_of("k", 10);
    for (auto& [name, content] : samples_of("n", 20)) {
      if (name.ends_with("jpg")) members.emplace_back(name, content);
    }
    folder.write("half.tar", tar_of(members));
    o.sources[0].shards = {folder / "half.tar"};
  });
}

TEST(Loader, ATruncatedShardIsReadUpToTheDamage) {
  const TempFolder folder;
  const std::string whole = tar_of(samples_of("k", 60));
  folder.write("0.tar", whole.substr(0, whole.size() / 2));
  DataOptions options = shard_options(folder);
  options.sources[0].shards = {folder / "0.tar"};
  LoaderContext context = context_of();
  std::string warnings;
  context.warn = [&](const std::string& line) { warnings += line; };
  Loader loader(options, context);
  EXPECT_NE(warnings.find("truncated_tar"), std::string::npos) << warnings;
  EXPECT_NE(warnings.find("0.tar at byte"), std::string::npos) << warnings;
  EXPECT_GT(loader.epoch_samples(), 25);
  EXPECT_LT(loader.epoch_samples(), 32);
  EXPECT_EQ(loader.stats().sources[0].excluded[1], 1);
  loader.release(loader.next());
}

/// The keys of a whole epoch.
std::multiset<std::string> epoch_of(const DataOptions& options) {
  Loader loader(options, context_of());
  std::multiset<std::string> keys;
  while (std::ssize(keys) < loader.epoch_samples()) {
    const Batch* batch = loader.next();
    for (const Row& row : batch->row) {
      if (std::ssize(keys) < loader.epoch_samples()) keys.insert(row.key);
    }
    loader.release(batch);
  }
  return keys;
}

TEST(Loader, DamagedHeadersRepeatedKeysAndMissingTextsAreCountedAndTheRestDelivered) {
  const TempFolder folder;
  Members members = samples_of("k", 48);
  for (auto& member : samples_of("k", 1, 3)) members.push_back(member);  // a key comes again
  members.emplace_back("lonely.jpg", jpeg_of(1));
  members.emplace_back("empty.jpg", jpeg_of(2));
  members.emplace_back("empty.txt", "");
  for (auto& member : samples_of("open", 1)) members.push_back(member);
  std::string bytes = tar_of(members);
  const std::size_t good = bytes.size();
  bytes = tar_of([&] {
    Members more = members;
    for (auto& member : samples_of("late", 10)) more.push_back(member);
    return more;
  }());
  // In the header of the first late sample: the group before it is not trusted either.
  bytes[good - 1024 + 3] = '!';
  folder.write("0.tar", bytes);
  DataOptions options = shard_options(folder);
  options.sources[0].shards = {folder / "0.tar"};
  options.vshard = 1;
  std::multiset<std::string> expected{"k000003"};
  for (const auto& [name, content] : samples_of("k", 48)) {
    if (name.ends_with("txt")) expected.insert(name.substr(0, 7));
  }
  options.lanes = 1;
  EXPECT_EQ(epoch_of(options), expected);
  const Loader loader(options, context_of());
  const SourceCounts counts = loader.stats().sources[0];
  const auto excluded = [&](BadSampleClass c) {
    return counts.excluded[static_cast<std::size_t>(c)];
  };
  EXPECT_EQ(excluded(BadSampleClass::no_text), 1);
  EXPECT_EQ(excluded(BadSampleClass::empty_text), 1);
  EXPECT_EQ(excluded(BadSampleClass::bad_header), 1) << "the rest of the shard is not trusted";
}

TEST(Loader, RefusesToGoOnWithOtherData) {
  const TempFolder folder;
  write_shards(folder);
  DataOptions options = shard_options(folder);
  const LoaderState state = deliver(options, 2).state;
  options.sources[0].captions.lines = "first";
  EXPECT_THROW(Loader(options, context_of(), state), DataError);
  options = shard_options(folder);
  LoaderContext other_seed = context_of();
  other_seed.seed = 1;
  EXPECT_THROW(Loader(options, other_seed, state), UsageError);
  folder.write("1.tar", tar_of(samples_of("k", 41, 40)));
  try {
    const Loader loader(options, context_of(), state);
    FAIL() << "a shard changed";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("pictures:120"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("pictures:121"), std::string::npos) << error.what();
  }
}

TEST(Source, NoticesAShardThatChangedUnderTheRun) {
  const TempFolder folder;
  write_shards(folder);
  const auto sources = open_sources(shard_options(folder), context_of(), 1);
  std::vector<SampleRef> refs;
  sources[0]->find(39, 2, refs);
  EXPECT_EQ(sources[0]->key(refs[0]), "k000039");
  EXPECT_EQ(sources[0]->key(refs[1]), "k000040");
  folder.write("1.tar", tar_of(samples_of("other", 40)));
  EXPECT_THROW((void)sources[0]->key(refs[1]), DataError);
}

}  // namespace
}  // namespace plumbline
