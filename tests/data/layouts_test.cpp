// The layouts of published sets, a few samples each: what they become as pairs.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "data/pack.h"
#include "data/source.h"
#include "plumbline/error.h"
#include "tests/data/loader_runs.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

/// Key to caption of all usable samples, at position 7 of seed 1.
std::map<std::string, std::string> pairs_of(const SourceOptions& source,
                                            std::string* warnings = nullptr) {
  DataOptions data;
  data.sources = {source};
  LoaderContext context;
  if (warnings) context.warn = [=](const std::string& line) { *warnings += line; };
  const auto sources = open_sources(data, context, 1);
  std::vector<SampleRef> refs;
  sources[0]->find(0, sources[0]->size(), refs);
  std::map<std::string, std::string> pairs;
  for (const SampleRef& ref : refs) {
    std::vector<std::uint8_t> bytes(ref.record.bytes);
    sources[0]->read(ref, bytes);
    SampleParts parts;
    EXPECT_FALSE(sources[0]->take_apart(ref, bytes, parts));
    const auto caption = sources[0]->caption(ref, parts, 1, 7);
    const auto* text = std::get_if<std::string>(&caption);
    pairs[parts.key] = text ? *text : "!" + std::get<BadSample>(caption).message;
  }
  return pairs;
}

SourceOptions source_of(const std::string& shards, std::vector<std::string> keys = {"txt"}) {
  SourceOptions source;
  source.name = "set";
  source.shards = {shards};
  source.captions.keys = std::move(keys);
  return source;
}

using Pairs = std::map<std::string, std::string>;

TEST(Layouts, Img2datasetWithHolesAndEmptyCaptions) {  // CC3M, CC12M, LAION-400M
  const TempFolder folder;
  const std::string json =
      R"({"caption": "x", "NSFW": "UNLIKELY", "similarity": NaN, "LICENSE": "?"})";
  folder.write("00000.tar", tar_of({{"000000000.jpg", jpeg_of(0)},
                                    {"000000000.json", json},
                                    {"000000000.txt", "<PERSON> at the beach"},
                                    {"000000002.jpg", jpeg_of(2)},
                                    {"000000002.json", json},
                                    {"000000002.txt", ""}}));
  folder.write("00000_stats.json", R"({"successes": 2})");
  folder.write("00002.tar", tar_of({{"000020001.jpg", jpeg_of(3)}, {"000020001.txt", "a boat"}}));
  SourceOptions source = source_of(folder / "{00000..00003}.tar");
  source.missing = "skip";
  std::string warnings;
  EXPECT_EQ(pairs_of(source, &warnings),
            (Pairs{{"000000000", "<PERSON> at the beach"}, {"000020001", "a boat"}}));
  EXPECT_NE(warnings.find("1 empty_text"), std::string::npos) << warnings;
}

TEST(Layouts, YfccDrawsAndCleansTitleOrDescription) {
  const TempFolder folder;
  fs::create_directories(folder / "abc/def");
  folder.write("abc/def/abcdef01.jpg", jpeg_of(1));
  folder.write("abc/def/abcdef02.jpg", jpeg_of(2));
  folder.write("table.tsv",
               "key\tfilepath\ttitle\tdescription\n"
               "1\tabc/def/abcdef01.jpg\t1%2B1+is+%3Cb%3Etwo%3C%2Fb%3E\t\n"
               "2\tabc/def/abcdef02.jpg\t\tsee+http%3A%2F%2Fx.y+my+dog\n");
  PackOptions pack_options;
  pack_options.manifest = folder / "table.tsv";
  pack_options.root = folder.path();
  pack_options.out = folder / "out";
  pack_options.caption_columns = {"title", "description"};
  EXPECT_EQ(pack(pack_options).samples, 2);
  SourceOptions source = source_of(folder / "out/*.tar", {"json:title", "json:description"});
  source.captions.probs = {1, 1};
  source.captions.clean = {"url_decode", "strip_html", "strip_urls", "collapse_space"};
  EXPECT_EQ(pairs_of(source), (Pairs{{"1", "1+1 is two"}, {"2", "see my dog"}}));
}

TEST(Layouts, WitTableAndShards) {
  const TempFolder folder;
  folder.write("a.jpg", jpeg_of(1));
  folder.write("wit.tsv",
               "language\tpage_url\tcaption_reference_description\tfilepath\n"
               "en\tu\tA castle in \"Wales\"\ta.jpg\n"
               "de\tu\tEine Burg\ta.jpg\n"
               "en\tu\t\ta.jpg\n");
  PackOptions options;
  options.manifest = folder / "wit.tsv";
  options.root = folder.path();
  options.out = folder / "out";
  options.caption_columns = {"caption_reference_description"};
  options.where = {"language=en"};
  options.skip_bad = true;
  EXPECT_EQ(pack(options).samples, 1);
  EXPECT_EQ(pairs_of(source_of(folder / "out/*.tar")),
            (Pairs{{"000000000", "A castle in \"Wales\""}}));
  options.where = {"colour=red"};
  options.out = folder / "other";
  EXPECT_THROW((void)pack(options), UsageError);

  // A writer that failed in mid-shard: no end blocks, no entry in sizes.json.
  const std::string whole = tar_of({{"6f1a-uuid.jpeg", jpeg_of(5)},
                                    {"6f1a-uuid.txt", "a tower"},
                                    {"77aa-uuid.jpeg", jpeg_of(6)},
                                    {"77aa-uuid.txt", "a bridge"}});
  folder.write("shard_000000.tar", whole);
  folder.write("shard_000001.tar", whole.substr(0, whole.size() - 1024));
  folder.write("sizes.json", R"({"shard_000000.tar": 2})");
  std::string warnings;
  EXPECT_EQ(pairs_of(source_of(folder / "shard_{000000..000001}.tar"), &warnings).size(), 2U);
  EXPECT_NE(warnings.find("shard_000001.tar at byte"), std::string::npos) << warnings;
}

TEST(Layouts, RedCapsAnnotationLines) {
  const TempFolder folder;
  fs::create_directories(folder / "birds");
  folder.write("birds/x1.jpg", jpeg_of(1));
  folder.write("redcaps.jsonl",
               R"({"key": "x1", "filepath": "birds/x1.jpg", "caption": "a robin", "raw_caption": )"
               R"("A Robin [OC]", "subreddit": "birds", "crosspost_parents": null})"
               "\n");
  PackOptions options;
  options.manifest = folder / "redcaps.jsonl";
  options.root = folder.path();
  options.out = folder / "out";
  EXPECT_EQ(pack(options).samples, 1);
  EXPECT_EQ(pairs_of(source_of(folder / "out/*.tar")), (Pairs{{"x1", "a robin"}}));
}

TEST(Layouts, AManifestTrainsWithoutShards) {
  const TempFolder folder;
  std::string table = "id,file,title\n";
  for (int i = 0; i < 20; ++i) {
    folder.write(str(i, ".jpg"), jpeg_of(static_cast<std::uint64_t>(i)));
    table += str("r", i, ",", i, ".jpg,\"photo, ", i, "\"\n");
  }
  folder.write("t.csv", table + "m,missing.jpg,none\ne,1.jpg, \n");
  SourceOptions source;
  source.name = "table";
  source.manifest = folder / "t.csv";
  source.root = folder.path();
  source.columns.image = "file";
  source.columns.key = "id";
  source.columns.captions = {"title"};
  DataOptions data;
  data.sources = {source};
  data.lanes = 4;
  data.memory_mb = 600;
  std::string warnings;
  LoaderContext context = context_of();
  context.warn = [&](const std::string& line) { warnings += line; };
  Loader loader(data, context);
  EXPECT_EQ(loader.epoch_samples(), 20);
  EXPECT_NE(warnings.find("2 rows"), std::string::npos) << warnings;
  EXPECT_EQ(rows_of(data, 3, 1), rows_of(data, 3, 2)) << "the order of ranks";
  const Batch* batch = loader.next();
  const std::string caption = "photo, " + batch->row[0].key.substr(1);
  for (std::size_t i = 0; i < caption.size(); ++i) EXPECT_EQ(batch->tokens_BL[i], caption[i]);
  loader.release(batch);

  folder.write("t.csv", "id,file,title\na,../x.jpg,t\n");
  EXPECT_THROW(Loader(data, context), UsageError);
  data.sources[0].columns.image = "path";
  EXPECT_THROW(Loader(data, context), UsageError);
}

TEST(Layouts, StockCsvWithCellsOfSeveralLines) {
  const TempFolder folder;
  folder.write("1.jpg", jpeg_of(1));
  folder.write("2.jpg", jpeg_of(2));
  folder.write("stock.csv",
               "id,file,description,title,keywords\r\n"
               "11,1.jpg,\"Two\nlines, \"\"quoted\"\"\",t,\"a,b\"\r\n"
               "12,2.jpg,,Only a title,\"c\"\r\n");
  PackOptions options;
  options.manifest = folder / "stock.csv";
  options.root = folder.path();
  options.out = folder / "out";
  options.key_column = "id";
  options.image_column = "file";
  options.caption_columns = {"description", "title"};
  EXPECT_EQ(pack(options).samples, 2);
  const std::string shards = folder / "out/*.tar";
  EXPECT_EQ(pairs_of(source_of(shards, {"json:description", "json:title"})),
            (Pairs{{"11", "Two\nlines, \"quoted\""}, {"12", "Only a title"}}));
  SourceOptions joined = source_of(shards, {"json:title", "json:keywords"});
  joined.captions.join = true;
  EXPECT_EQ(pairs_of(joined), (Pairs{{"11", "t a,b"}, {"12", "Only a title c"}}));
}

}  // namespace
}  // namespace plumbline
