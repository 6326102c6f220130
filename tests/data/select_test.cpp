// data match, filter, audit and transcode.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <jpeglib.h>

#include "core/file.h"
#include "data/audit.h"
#include "data/eval_shards.h"
#include "data/jpeg_baseline.h"
#include "data/select.h"
#include "data/synthetic.h"
#include "data/transcode.h"
#include "plumbline/error.h"
#include "tests/data/fixture.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Classes = std::vector<std::int64_t>;

TEST(PhraseMatcher, FindsLongestWholeWords) {
  const std::vector<std::vector<std::string>> names = {
      {"shark"}, {"great white shark", "white shark"}, {"St. Bernard"}, {"crane"}, {"crane"}};
  const PhraseMatcher exact(names, {});
  EXPECT_EQ(exact.find("a great white shark!"), Classes{1});
  EXPECT_EQ(exact.find("a white shark and a shark"), (Classes{0, 1}));
  EXPECT_EQ(exact.find("sharks, Shark, sharkskin"), Classes{});
  EXPECT_EQ(exact.find("my St. Bernard"), Classes{2}) << "names are literal";
  EXPECT_EQ(exact.find("my Stx Bernard"), Classes{});
  EXPECT_EQ(exact.find("crane"), (Classes{3, 4})) << "a name of two classes";
  EXPECT_EQ(exact.find("écrane"), Classes{}) << "é is a letter";
  EXPECT_EQ(exact.find("\xff shark \xff"), Classes{0});

  EXPECT_EQ(PhraseMatcher(names, {true, true, true}).find("SHARK in ST. BERNARD"), (Classes{0, 2}));
  EXPECT_EQ(PhraseMatcher(names, {false, false, true}).find("sharkskin"), Classes{0});
  EXPECT_EQ(PhraseMatcher(names, {false, true, false}).find("great white shark"), (Classes{0, 1}));
  EXPECT_THROW(PhraseMatcher({{"a"}, {}}, {}), UsageError);
}

/// Against the plain search of each name.
TEST(PhraseMatcher, AgreesWithSearchingEachName) {
  const std::vector<std::vector<std::string>> names = {{"ab"}, {"ba", "bab"}, {"aab"}, {"b a"}};
  const PhraseMatcher raw(names, {false, false, false});
  for (int bits = 0; bits < 729; ++bits) {
    std::string text;
    for (int rest = bits, i = 0; i < 6; ++i, rest /= 3) text += "ab "[rest % 3];
    Classes expected;
    for (std::size_t c = 0; c < names.size(); ++c) {
      for (const std::string& name : names[c]) {
        if (text.find(name) == std::string::npos) continue;
        expected.push_back(static_cast<std::int64_t>(c));
        break;
      }
    }
    ASSERT_EQ(raw.find(text), expected) << text;
  }
}

SourceOptions source_of(const std::string& pattern) {
  SourceOptions source;
  source.name = "shards";
  source.shards = {pattern};
  return source;
}

std::vector<EvalItem> items_in(const std::string& pattern) {
  EvalShardOptions options;
  options.shards = {pattern};
  const EvalShards shards(options, 1);
  std::vector<EvalItem> items;
  for (std::int64_t i = 0; i < shards.size(); ++i) items.push_back(shards.read(i));
  return items;
}

std::string progressive_of(std::uint64_t ordinal) {
  Image image;
  render_synthetic(ordinal, 3, 90, image);
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_width = jpeg.image_height = 90;
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  const std::string comment = "kept";
  jpeg_write_marker(&jpeg, JPEG_COM, reinterpret_cast<const JOCTET*>(comment.data()), 4);
  while (jpeg.next_scanline < jpeg.image_height) {
    JSAMPROW row = image.pixels_HWC.data() + std::size_t{3} * 90 * jpeg.next_scanline;
    (void)jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::string result(reinterpret_cast<char*>(bytes), size);
  std::free(bytes);
  return result;
}

TEST(Match, LabelsAndCopies) {
  const TempFolder folder;
  const std::string image = jpeg_of(1);
  folder.write("s.tar", tar_of({{"a.jpg", image},
                                {"a.txt", "a cat"},
                                {"a.cls", "99"},
                                {"b.jpg", image},
                                {"b.txt", "a dog and a cat"},
                                {"c.jpg", image},
                                {"c.txt", "a bird"},
                                {"d.jpg", image},
                                {"d.txt", "hounds"}}));
  folder.write("names.txt", "cat\ndog\thounds\nfish\n");
  MatchOptions options;
  options.source = source_of(folder / "s.tar");
  options.names = folder / "names.txt";
  options.out = folder / "drop";
  const MatchReport dropped = match_captions(options);
  EXPECT_EQ(dropped.samples, 4);
  EXPECT_EQ(dropped.matched, 3);
  EXPECT_EQ(dropped.several, 1);
  EXPECT_EQ(dropped.per_class, (Classes{1, 1, 0}));
  std::vector<EvalItem> items = items_in(folder / "drop/*.tar");
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0].key, "a");
  EXPECT_EQ(items[0].label, 0) << "the old label is replaced";
  EXPECT_EQ(std::string(items[0].image.begin(), items[0].image.end()), image);
  EXPECT_EQ(items[1].label, 1);
  EXPECT_EQ(read_file(folder / "drop/classes.csv"),
            "class,name,samples\n0,\"cat\",1\n1,\"dog\",1\n2,\"fish\",0\n");
  options.multi = "rows";
  options.out = folder / "rows";
  EXPECT_EQ(match_captions(options).rows, 4);
  items = items_in(folder / "rows/*.tar");
  ASSERT_EQ(items.size(), 4U);
  EXPECT_EQ(items[1].key, "b");
  EXPECT_EQ(items[2].key, "b-1") << "keys stay unique";
  EXPECT_EQ(items[2].label, 1);
  options.multi = "multi-hot";
  options.out = folder / "all";
  const MatchReport all = match_captions(options);
  EXPECT_EQ(all.rows, 3);
  EXPECT_EQ(all.per_class, (Classes{2, 2, 0}));
  const std::string tar = read_file(folder / "all/shard_000000.tar");
  EXPECT_NE(tar.find(std::string("0 1") + std::string(509, '\0')), std::string::npos)
      << "both classes of b";
  folder.write("names.txt", "zebra\n");
  options.out = folder / "none";
  EXPECT_THROW((void)match_captions(options), UsageError);
}

TEST(Filter, KeepsTheBestWithTiesByKey) {
  const TempFolder folder;
  folder.write("s.tar", tar_of(samples_of("k", 6)));
  folder.write("scores.csv",
               "key,score\nk000000,0.1\nk000001,0.3\nk000002,0.3\nk000003,0.5\n"
               "k000004,-1\nother,9\n");
  FilterOptions options;
  options.source = source_of(folder / "s.tar");
  options.scores = folder / "scores.csv";
  options.out = folder / "top";
  options.keep_top = 0.4;  // of five with a score
  const FilterReport report = filter_by_score(options);
  EXPECT_EQ(report.unscored, 1);
  EXPECT_EQ(report.kept, 2);
  EXPECT_EQ(report.lowest, 0.3);
  const auto items = items_in(folder / "top/*.tar");
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0].key, "k000001");
  EXPECT_EQ(items[1].key, "k000003") << "in the order of the shards";
  EXPECT_THROW(
      {
        options.min = 0.2;
        (void)filter_by_score(options);
      },
      UsageError);
  options.keep_top.reset();
  options.out = folder / "min";
  EXPECT_EQ(filter_by_score(options).kept, 3);
  folder.write("scores.csv", "key,score\nk000000,0.1\nk000000,0.2\n");
  EXPECT_THROW((void)filter_by_score(options), UsageError);
}

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

TEST(Audit, CountsRepeatsScriptsAndLengths) {
  const TempFolder folder;
  folder.write("s.tar", tar_of({{"a.jpg", jpeg_of(1)},
                                {"a.txt", "a cat on a mat"},
                                {"b.jpg", jpeg_of(1)},
                                {"b.txt", "кошка"},
                                {"c.jpg", jpeg_of(2)},
                                {"c.txt", "a cat on a mat"},
                                {"d.jpg", progressive_of(3)},
                                {"d.txt", "..!"},
                                {"e.jpg", "GIF89a"},
                                {"e.txt", "a gif"}}));
  AuditOptions options;
  options.source = source_of(folder / "s.tar");
  const ByteTokenizer tokenizer;
  options.tokenizer = &tokenizer;
  const AuditReport report = audit(options);
  EXPECT_EQ(report.samples, 5);
  EXPECT_EQ(report.bad[static_cast<std::size_t>(BadSampleClass::unsupported)], 1);
  EXPECT_EQ(report.repeated_images, 1);
  EXPECT_EQ(report.repeated_captions, 1);
  EXPECT_EQ(report.repeated_keys, 0);
  EXPECT_EQ(report.progressive, 1);
  EXPECT_EQ(report.short_captions, 1);
  EXPECT_EQ(report.scripts[0], 3);
  EXPECT_EQ(report.scripts[2], 1) << "Cyrillic";
  EXPECT_EQ(report.caption_characters.most, 14);
  EXPECT_EQ(report.caption_tokens.least, 3);
  EXPECT_EQ(report.truncated, 0);
  EXPECT_GT(report.images_per_s_core, 1000);
}

TEST(Transcode, BaselineHasTheSamePixels) {
  const std::string progressive = progressive_of(1);
  ASSERT_TRUE(needs_baseline(bytes_of(progressive)));
  EXPECT_FALSE(needs_baseline(bytes_of(jpeg_of(1))));
  const auto result = to_baseline(bytes_of(progressive));
  ASSERT_TRUE(std::holds_alternative<std::vector<std::uint8_t>>(result));
  const auto& baseline = std::get<0>(result);
  EXPECT_FALSE(needs_baseline(baseline));
  EXPECT_NE(std::string(baseline.begin(), baseline.end()).find("kept"), std::string::npos);
  ImageDecoder decoder;
  Image before, after;
  ASSERT_FALSE(decoder.decode(bytes_of(progressive), before));
  ASSERT_FALSE(decoder.decode(baseline, after));
  EXPECT_EQ(before.pixels_HWC, after.pixels_HWC);
  EXPECT_TRUE(std::holds_alternative<BadSample>(
      to_baseline(bytes_of(progressive).first(progressive.size() / 2))));
}

TEST(Transcode, KeepsEverySample) {
  const TempFolder folder;
  const std::string cut = progressive_of(3).substr(0, 900);
  folder.write("a.tar", tar_of({{"p.jpg", progressive_of(1)},
                                {"p.txt", "progressive"},
                                {"b.jpg", jpeg_of(2)},
                                {"b.txt", "baseline"},
                                {"n.txt", "no image"},
                                {"c.jpg", cut},
                                {"c.txt", "cut"}}));
  TranscodeOptions options;
  options.source = source_of(folder / "a.tar");
  options.out = folder / "out";
  options.verify = true;
  const TranscodeReport report = transcode(options);
  EXPECT_EQ(report.samples, 4);
  EXPECT_EQ(report.recoded, 1);
  EXPECT_EQ(report.kept, 2);
  ASSERT_EQ(report.messages.size(), 1U);
  EXPECT_NE(report.messages[0].find("key c"), std::string::npos);
  const auto items = items_in(folder / "out/a.tar");
  ASSERT_EQ(items.size(), 3U);
  EXPECT_EQ(std::string(items[1].image.begin(), items[1].image.end()), jpeg_of(2));
  EXPECT_EQ(std::string(items[2].image.begin(), items[2].image.end()), cut);
  EXPECT_NE(read_file(folder / "out/sizes.json").find("\"a.tar\": 4"), std::string::npos);
  EXPECT_EQ(transcode(options).finished_before, 1);
  options.resize = 32;
  EXPECT_THROW((void)transcode(options), UsageError) << "the folder holds other shards";
  options.out = folder / "small";
  EXPECT_EQ(transcode(options).resized, 2);
  const auto small = items_in(folder / "small/a.tar");
  EXPECT_EQ(std::get<ImageInfo>(probe_image(small[0].image)).width, 32);
}

TEST(Transcode, AnInterruptionLeavesNothingHalf) {
  const TempFolder folder;
  folder.write("s.tar", tar_of(samples_of("k", 30)));
  FilterOptions options;
  std::string scores = "key,score\n";
  for (const auto& [name, content] : samples_of("k", 30)) {
    if (name.ends_with("txt")) scores += name.substr(0, 7) + ",1\n";
  }
  folder.write("scores.csv", scores);
  options.source = source_of(folder / "s.tar");
  options.scores = folder / "scores.csv";
  options.min = 0;
  options.samples_per_shard = 10;
  options.out = folder / "out";
  options.threads = 1;
  EXPECT_THROW((void)filter_by_score(options,
                                     [](std::int64_t done, std::int64_t) {
                                       if (done == 15) throw Error("stop", ExitCode::resumable);
                                     }),
               Error);
  EXPECT_TRUE(fs::exists(options.out + "/shard_000000.tar"));
  EXPECT_FALSE(fs::exists(options.out + "/shard_000001.tar"));
  EXPECT_FALSE(fs::exists(options.out + "/shard_000001.tar.tmp"));
  EXPECT_EQ(filter_by_score(options).written.kept, 1) << "the second call goes on";
  EXPECT_EQ(items_in(options.out + "/*.tar").size(), 30U);
}

}  // namespace
}  // namespace plumbline
