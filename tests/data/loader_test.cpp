#include "plumbline/data.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "core/file.h"
#include "data/source.h"
#include "plumbline/error.h"
#include "tests/data/fixture.h"

namespace plumbline {
namespace {

const ByteTokenizer kTokenizer;

/// Three shards of 40 samples.
void write_shards(const TempFolder& folder) {
  for (int s = 0; s < 3; ++s) {
    folder.write(str(s, ".tar"), tar_of(samples_of("k", 40, 40 * s)));
  }
}

DataOptions options_of(const TempFolder& folder) {
  DataOptions options;
  SourceOptions source;
  source.name = "pictures";
  source.shards = {folder / "{0..2}.tar"};
  options.sources = {source};
  options.lanes = 4;
  options.vshard = 8;
  options.threads = 2;
  options.memory_mb = 600;
  return options;
}

LoaderContext context_of(int rank = 0, int world = 1) {
  LoaderContext context;
  context.seed = 42;
  context.global_batch = 16;
  context.rank = rank;
  context.world = world;
  context.preprocess.height = context.preprocess.width = 24;
  context.tokenizer = &kTokenizer;
  return context;
}

struct Delivered {
  std::vector<std::string> keys;
  LoaderState state;
};

Delivered deliver(const DataOptions& options, int steps) {
  Loader loader(options, context_of());
  Delivered result;
  for (int k = 0; k < steps; ++k) {
    const Batch* batch = loader.next();
    for (const Row& row : batch->row) result.keys.push_back(row.key);
    loader.release(batch);
  }
  result.state = loader.state();
  return result;
}

/// Key and hash of all that stands in each row of the global batches, over `world` ranks.
std::vector<std::string> rows_of(const DataOptions& options, int steps, int world,
                                 const std::optional<LoaderState>& from = std::nullopt,
                                 LoaderState* end = nullptr) {
  std::vector<std::string> rows(static_cast<std::size_t>(steps * 16));
  for (int rank = 0; rank < world; ++rank) {
    Loader loader(options, context_of(rank, world), from);
    for (int k = 0; k < steps; ++k) {
      const Batch* batch = loader.next();
      const auto n = static_cast<std::size_t>(batch->rows);
      const std::size_t pixels = batch->pixels_BHWC.size() / n;
      const std::size_t ids = batch->tokens_BL.size() / n;
      for (std::size_t i = 0; i < n; ++i) {
        const Row& row = batch->row[i];
        const auto image = batch->pixels_BHWC.subspan(i * pixels, pixels);
        std::string text(reinterpret_cast<const char*>(image.data()), image.size());
        text += str(row.position, " ", row.key, " ", row.substitute, " ", batch->step);
        for (const std::int32_t id : batch->tokens_BL.subspan(i * ids, ids)) text += str(" ", id);
        rows[static_cast<std::size_t>(k * 16) + static_cast<std::size_t>(rank) * n + i] =
            str(row.key, " ", sha256_hex(text));
      }
      loader.release(batch);
    }
    if (end) *end = loader.state();
  }
  return rows;
}

TEST(Loader, ThreadsAndRanksDoNotChangeABatch) {
  const TempFolder folder;
  write_shards(folder);
  DataOptions options = options_of(folder);
  options.threads = 1;
  const std::vector<std::string> expected = rows_of(options, 12, 1);
  for (const int threads : {2, 7}) {
    options.threads = threads;
    EXPECT_EQ(rows_of(options, 12, 1), expected) << threads << " threads";
  }
  for (const int world : {2, 4}) {
    EXPECT_EQ(rows_of(options, 12, world), expected) << world << " ranks";
  }
}

TEST(Loader, ResumingAnywhereAtAnyWorldIsTheUninterruptedRun) {
  const TempFolder folder;
  write_shards(folder);
  const DataOptions options = options_of(folder);
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
  const DataOptions options = options_of(folder);
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
  DataOptions options = options_of(folder);
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
  DataOptions options = options_of(folder);
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
  DataOptions options = options_of(folder);
  options.sources[0].shards = {folder / "0.tar"};
  expect_data_error(options, {"pictures", "max_rate", "unsupported", "k0000"});
  options.errors = {1, 1};
  expect_data_error(options, {"max_consecutive"});
}

TEST(Loader, WhollyBadDataStopsTheRun) {
  const TempFolder folder;
  folder.write("0.tar", tar_of(broken_samples(40, 1)));
  DataOptions options = options_of(folder);
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
    DataOptions options = options_of(folder);
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
  DataOptions options = options_of(folder);
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

TEST(Loader, CompressedShardsGiveTheSameBatches) {
  const TempFolder folder;
  write_shards(folder);
  const std::vector<std::string> expected = rows_of(options_of(folder), 6, 1);
  if (std::system(str("gzip ", folder.path(), "/1.tar && zstd -q --rm ", folder.path(), "/2.tar")
                      .c_str()) != 0) {
    GTEST_SKIP() << "gzip or zstd is not there";
  }
  DataOptions options = options_of(folder);
  options.sources[0].shards = {folder / "0.tar", folder / "1.tar.gz", folder / "2.tar.zst"};
  EXPECT_EQ(rows_of(options, 6, 1), expected);
}

TEST(Loader, RefusesToGoOnWithOtherData) {
  const TempFolder folder;
  write_shards(folder);
  DataOptions options = options_of(folder);
  const LoaderState state = deliver(options, 2).state;
  options.sources[0].captions.lines = "first";
  EXPECT_THROW(Loader(options, context_of(), state), DataError);
  options = options_of(folder);
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
  const auto sources = open_sources(options_of(folder), context_of(), 1);
  std::vector<SampleRef> refs;
  sources[0]->find(39, 2, refs);
  EXPECT_EQ(sources[0]->key(refs[0]), "k000039");
  EXPECT_EQ(sources[0]->key(refs[1]), "k000040");
  folder.write("1.tar", tar_of(samples_of("other", 40)));
  EXPECT_THROW((void)sources[0]->key(refs[1]), DataError);
}

DataOptions synthetic(const char* kind) {
  DataOptions options;
  SourceOptions source;
  source.name = "made-up";
  source.synthetic = kind;
  source.synthetic_samples = 1000;
  source.synthetic_size = 48;
  options.sources = {source};
  options.threads = 2;
  options.memory_mb = 600;
  return options;
}

TEST(Loader, SyntheticSources) {
  for (const char* kind : {"pixels", "jpeg"}) {
    DataOptions options = synthetic(kind);
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
  EXPECT_THROW(Loader(synthetic("noise"), context_of()), UsageError);
}

TEST(Loader, TwoSourcesMixByWeight) {
  const TempFolder folder;
  write_shards(folder);
  DataOptions options = options_of(folder);
  options.sources.push_back(synthetic("pixels").sources[0]);
  options.sources[0].weight = 3;
  Loader loader(options, context_of());
  for (int k = 0; k < 250; ++k) loader.release(loader.next());  // one period of each lane
  const LoaderStats stats = loader.stats();
  EXPECT_EQ(stats.sources[0].delivered, 3000);
  EXPECT_EQ(stats.sources[1].delivered, 1000);
}

TEST(Loader, EndsQuicklyAtAnyMoment) {
  DataOptions options = synthetic("pixels");
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
  Loader loader(synthetic("pixels"), context_of());
  for (int k = 0; k < 3; ++k) (void)loader.next();
  EXPECT_THROW((void)loader.next(), InternalError);
}

TEST(Loader, StaysBelowTheMemoryBound) {
  DataOptions options = synthetic("jpeg");
  Loader loader(options, context_of());
  EXPECT_LE(loader.memory_bound(), options.memory_mb << 20);
  EXPECT_GT(loader.memory_bound(), 0);
}

}  // namespace
}  // namespace plumbline
