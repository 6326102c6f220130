// pack, index, check, subset, mix, and reading shards for evaluation.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "core/file.h"
#include "data/check.h"
#include "data/eval_shards.h"
#include "data/manifest.h"
#include "data/pack.h"
#include "data/subset.h"
#include "plumbline/error.h"
#include "tests/data/fixture.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

TEST(Manifest, Rfc4180) {
  const std::string text = "a,b\r\n1,\"x, \"\"y\"\"\nz\"\r\n\"\",\n";
  const auto rows = split_records(text, ',', false, "f.csv");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[1].cells, (std::vector<std::string>{"1", "x, \"y\"\nz"}));
  EXPECT_EQ(rows[2].cells, (std::vector<std::string>{"", ""}));
  EXPECT_EQ(rows[2].line, 4);
  EXPECT_THROW((void)split_records("\"a", ',', false, "f.csv"), DataError);
  EXPECT_EQ(split_records("a\t\"b", '\t', true, "f.tsv")[0].cells[1], "\"b");
}

TEST(Manifest, ReadsTablesAndJsonLines) {
  const TempFolder folder;
  folder.write("t.tsv", "\xef\xbb\xbfkey\tcaption\n1\tone\n");
  EXPECT_EQ(read_manifest(folder / "t.tsv").column("key"), 0);
  folder.write("j.jsonl", "{\"key\": 1}\n\n{\"caption\": \"two\", \"key\": null}\n");
  const Manifest json = read_manifest(folder / "j.jsonl");
  ASSERT_EQ(json.rows.size(), 2U);
  EXPECT_EQ(json.rows[0].cells, (std::vector<std::string>{"1", ""}));
  EXPECT_EQ(json.rows[1].cells, (std::vector<std::string>{"", "two"}));
  folder.write("t.csv", "a,b\n1,2,3\n");
  EXPECT_THROW((void)read_manifest(folder / "t.csv"), DataError);
  EXPECT_THROW((void)read_manifest(folder / "t.xls"), UsageError);
}

/// Images 0.jpg ... and a table of them.
PackOptions pack_options(const TempFolder& folder, int count, const std::string& more = "") {
  fs::create_directories(folder / "images");
  std::string table = "key,filepath,caption,label,place\n";
  for (int i = 0; i < count; ++i) {
    folder.write(str("images/", i, ".jpg"), jpeg_of(static_cast<std::uint64_t>(i)));
    table += str("k", i, ",", i, ".jpg,\"photo, number ", i, "\",", i % 3, ",here\n");
  }
  folder.write("table.csv", table + more);
  PackOptions options;
  options.manifest = folder / "table.csv";
  options.root = folder / "images";
  options.out = folder / "out";
  options.samples_per_shard = 10;
  options.threads = 2;
  return options;
}

TEST(Pack, RoundTrip) {
  const TempFolder folder;
  const PackReport report = pack(pack_options(folder, 25));
  EXPECT_EQ(report.samples, 25);
  EXPECT_EQ(report.written.shards, 3);
  EvalShardOptions options;
  options.shards = {folder / "out/shard_{000000..000002}.tar"};
  const EvalShards shards(options, 2);
  ASSERT_EQ(shards.size(), 25);
  std::set<std::string> keys;
  for (std::int64_t i = 0; i < shards.size(); ++i) {
    const EvalItem item = shards.read(i);
    const std::string number = item.key.substr(1);
    EXPECT_EQ(item.label, std::stoi(number) % 3);
    EXPECT_EQ(item.text, "photo, number " + number);
    const std::string image = read_file(folder / "images/" + number + ".jpg");
    EXPECT_EQ(std::string(item.image.begin(), item.image.end()), image) << "bytes untouched";
    keys.insert(item.key);
  }
  EXPECT_EQ(keys.size(), 25U);
  EXPECT_NE(shards.read(0).key, "k0") << "shuffled (1 in 25 seeds would fail; this one does not)";
  EXPECT_NE(read_file(folder / "out/sizes.json").find("\"shard_000002.tar\": 5"),
            std::string::npos);
  EXPECT_NE(read_file(folder / "out/shard_000000.tar").find("\"place\":\"here\""),
            std::string::npos);
  EXPECT_TRUE(fs::exists(folder / "out/shard_000000.tar.idx"));
}

TEST(Pack, BytesDependOnNothingElse) {
  const TempFolder folder;
  PackOptions options = pack_options(folder, 25);
  (void)pack(options);
  const std::string first = read_file(folder / "out/shard_000001.tar");
  EXPECT_EQ(pack(options).written.kept, 3) << "a second call keeps finished shards";
  options.out = folder / "again";
  options.threads = 1;
  (void)pack(options);
  EXPECT_EQ(read_file(folder / "again/shard_000001.tar"), first);
  options.seed = 1;
  EXPECT_THROW((void)pack(options), UsageError) << "the folder holds another order";
  EXPECT_EQ(read_file(folder / "again/shard_000001.tar"), first);
}

TEST(Pack, ListsBadRows) {
  const TempFolder folder;
  folder.write("page.jpg", "<html>");
  PackOptions options = pack_options(folder, 5,
                                     "k1,1.jpg,again,0,x\n"
                                     "k.x,1.jpg,dot,0,x\n"
                                     "m,missing.jpg,none,0,x\n"
                                     "e,1.jpg, ,0,x\n"
                                     "u,../page.jpg,outside,0,x\n");
  try {
    (void)pack(options);
    FAIL() << "five bad rows";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::failed);
    EXPECT_NE(std::string(error.what()).find("line 9: no file"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(options.out)) << "nothing is written";
  options.skip_bad = true;
  const PackReport report = pack(options);
  EXPECT_EQ(report.samples, 5);
  EXPECT_EQ(report.bad.size(), 5U);
  EXPECT_NE(read_file(folder / "out/bad_rows.jsonl").find("leaves the root"), std::string::npos);
}

SourceOptions source_of(const std::string& pattern) {
  SourceOptions source;
  source.name = "shards";
  source.shards = {pattern};
  return source;
}

TEST(Check, CountsByClassAndMarksBadSamples) {
  const TempFolder folder;
  Members members = samples_of("k", 20);
  members[0].second.resize(300);       // decode
  members[2].second = "GIF89a";        // unsupported
  members[5].second = "\xff";          // tokenizer
  members.erase(members.begin() + 7);  // no_text
  folder.write("a.tar", tar_of(members));
  CheckOptions options;
  options.source = source_of(folder / "a.tar");
  options.decode = true;
  options.threads = 1;
  const CheckReport report = check_shards(options);
  EXPECT_FALSE(report.clean());
  EXPECT_EQ(report.samples, 20);
  EXPECT_EQ(report.usable, 16);
  EXPECT_EQ(report.messages.size(), 4U);
  for (const BadSampleClass c : {BadSampleClass::decode, BadSampleClass::unsupported,
                                 BadSampleClass::tokenizer, BadSampleClass::no_text}) {
    EXPECT_EQ(report.by_class[static_cast<std::size_t>(c)], 1) << name_of(c);
  }
  EXPECT_EQ(index_shards(options).usable, 19) << "headers alone know less";
  options.update = true;
  (void)check_shards(options);
  EXPECT_EQ(index_shards(options).usable, 16) << "the marks last";
}

TEST(Check, ComparesAnnouncedSizesAndSeesDamage) {
  const TempFolder folder;
  const std::string whole = tar_of(samples_of("k", 4));
  folder.write("a.tar", whole);
  folder.write("b.tar", whole.substr(0, whole.size() - 1024));
  folder.write("sizes.json", "{\"a.tar\": 5}");
  CheckOptions options;
  options.source = source_of(folder / "{a,b}.tar");
  const CheckReport report = check_shards(options);
  EXPECT_EQ(report.size_mismatches.size(), 1U);
  ASSERT_EQ(report.damaged.size(), 1U);
  EXPECT_NE(report.damaged[0].find("b.tar at byte"), std::string::npos);
  EXPECT_FALSE(report.clean());
}

std::set<std::string> keys_in(const std::string& pattern) {
  EvalShardOptions options;
  options.shards = {pattern};
  const EvalShards shards(options, 1);
  std::set<std::string> keys;
  for (std::int64_t i = 0; i < shards.size(); ++i) keys.insert(shards.read(i).key);
  return keys;
}

TEST(Subset, IsNestedAndIndependentOfTheShards) {
  const TempFolder folder;
  folder.write("a.tar", tar_of(samples_of("k", 30)));
  folder.write("b.tar", tar_of(samples_of("k", 30, 30)));
  Members all = samples_of("k", 60);
  folder.write("c.tar", tar_of(all));
  SubsetOptions options;
  options.sources = {source_of(folder / "{a,b}.tar")};
  options.seed = 3;
  options.threads = 1;
  const auto take = [&](std::int64_t n, const std::string& out) {
    options.samples = n;
    options.out = folder / out;
    EXPECT_EQ(subset(options).taken, std::vector<std::int64_t>{n});
    return keys_in(options.out + "/*.tar");
  };
  const std::set<std::string> ten = take(10, "ten");
  const std::set<std::string> twenty = take(20, "twenty");
  EXPECT_EQ(ten.size(), 10U);
  EXPECT_TRUE(std::includes(twenty.begin(), twenty.end(), ten.begin(), ten.end()));
  options.sources = {source_of(folder / "c.tar")};
  EXPECT_EQ(take(20, "from-one"), twenty);
  EXPECT_THROW((void)take(61, "too-many"), UsageError);
}

TEST(Subset, MayHashAFieldOfTheJsonMember) {
  // One set under two names of keys: the same ids are taken.
  const TempFolder folder;
  for (const std::string name : {"a", "b"}) {
    Members members;
    for (auto& [file, content] : samples_of(name, 30)) {
      members.emplace_back(file, content);
      if (!file.ends_with("txt")) continue;
      const std::string id = file.substr(1, 6);
      members.emplace_back(name + id + ".json", str("{\"meta\": {\"id\": \"x", id, "\"}}"));
    }
    folder.write(name + ".tar", tar_of(members));
  }
  SubsetOptions options;
  options.identity = "json:/meta/id";
  options.samples = 10;
  std::array<std::set<std::string>, 2> ids;
  for (const std::string name : {"a", "b"}) {
    options.sources = {source_of(folder / name + ".tar")};
    options.out = folder / ("of-" + name);
    (void)subset(options);
    for (const std::string& key : keys_in(options.out + "/*.tar")) {
      ids[name == "a" ? 0 : 1].insert(key.substr(1));
    }
  }
  EXPECT_EQ(ids[0].size(), 10U);
  EXPECT_EQ(ids[0], ids[1]);
  options.identity = "json:/meta/other";
  options.out = folder / "other";
  try {
    (void)subset(options);
    FAIL() << "no such field";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("/meta/other"), std::string::npos) << error.what();
  }
  options.identity = "name";
  EXPECT_THROW((void)subset(options), UsageError);
}

TEST(Subset, MixesByWeight) {
  const TempFolder folder;
  folder.write("a.tar", tar_of(samples_of("a", 20)));
  folder.write("b.tar", tar_of(samples_of("b", 20)));
  SubsetOptions options;
  options.sources = {source_of(folder / "a.tar"), source_of(folder / "b.tar")};
  options.sources[1].name = "t";
  options.sources[1].weight = 3;
  options.samples = 10;
  options.out = folder / "mix";
  EXPECT_EQ(subset(options).taken, (std::vector<std::int64_t>{3, 7}));
  EXPECT_EQ(keys_in(folder / "mix/*.tar").size(), 10U);
}

TEST(EvalShards, RefusesDamageAndBadLabels) {
  const TempFolder folder;
  const std::string whole = tar_of(
      {{"a.jpg", "x"}, {"a.cls", "7\n"}, {"b.png", "y"}, {"b.cls", "cat"}, {"c.txt", "no image"}});
  folder.write("a.tar", whole);
  EvalShardOptions options;
  options.shards = {folder / "a.tar"};
  const EvalShards shards(options, 1);
  ASSERT_EQ(shards.size(), 2);
  EXPECT_EQ(shards.skipped(), 1);
  EXPECT_EQ(shards.read(0).label, 7);
  EXPECT_THROW((void)shards.read(1), DataError);
  EXPECT_FALSE(fs::exists(folder / "a.tar.idx")) << "evaluation writes nothing";
  folder.write("a.tar", whole.substr(0, 2000));
  EXPECT_THROW(EvalShards(options, 1), DataError);
  EXPECT_EQ(eval_slice(10, 1, 3), (std::pair<std::int64_t, std::int64_t>{3, 6}));
}

}  // namespace
}  // namespace plumbline
