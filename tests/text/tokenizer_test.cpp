// Rows, reductions, options and threads of the clip kind.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/file.h"
#include "core/philox.h"
#include "plumbline/error.h"
#include "plumbline/tokenizer.h"

namespace plumbline {
namespace {

using Row = std::vector<std::int32_t>;
constexpr int kStart = 49406;
constexpr int kEnd = 49407;

std::string what_of(const TokenizerOptions& options) {
  try {
    (void)make_tokenizer(options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Clip, KnownRow) {
  const auto tokenizer = make_tokenizer({.context_length = 8});
  Row row(8, -1);
  EXPECT_EQ(tokenizer->encode("a photo of a cat", row), 7);
  EXPECT_EQ(row, (Row{kStart, 320, 1125, 539, 320, 2368, kEnd, 0}));
  EXPECT_EQ(tokenizer->vocab_size(), 49408);
  EXPECT_EQ(tokenizer->encode("", row), 2);
  EXPECT_EQ(row, (Row{kStart, kEnd, 0, 0, 0, 0, 0, 0}));
}

TEST(Clip, LongCaptionIsCutAndEnds) {
  const auto tokenizer = make_tokenizer({.context_length = 4});
  Row row(4);
  EXPECT_EQ(tokenizer->encode("a photo of a cat", row), 7);
  EXPECT_EQ(row, (Row{kStart, 320, 1125, kEnd}));
  EXPECT_EQ(tokenizer->encode("a photo", row), 4);
  EXPECT_EQ(row, (Row{kStart, 320, 1125, kEnd}));
}

TEST(Clip, SpecialTextIsPlainUnlessAskedFor) {
  Row row(16);
  make_tokenizer({.context_length = 16})->encode("a <end_of_text> b", row);
  EXPECT_EQ(std::count(row.begin(), row.end(), kEnd), 1);
  EXPECT_EQ(make_tokenizer({.context_length = 16, .special_text = "openclip"})
                ->encode("a <end_of_text> b", row),
            5);
  EXPECT_EQ(row[2], kEnd);
}

TEST(Clip, NotUtf8) {
  const auto tokenizer = make_tokenizer({});
  Row row(77);
  for (const char* bad : {"caf\xE9", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "a\xE2\x82"}) {
    EXPECT_THROW(tokenizer->encode(bad, row), std::invalid_argument) << bad;
  }
  try {
    tokenizer->encode("caf\xE9", row);
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("byte 233 at position 3"), std::string::npos)
        << error.what();
  }
}

TEST(Clip, VeryLongCaptions) {
  const auto tokenizer = make_tokenizer({});
  Row row(77);
  // In one word and in one line; the cost must stay far from quadratic.
  EXPECT_GT(tokenizer->encode(std::string(1 << 16, 'a'), row), 1000);
  std::string mixed;
  for (int i = 0; i < 6000; ++i) mixed += "\xC3\x83\xC2\xA9 x&amp;";
  EXPECT_GT(tokenizer->encode(mixed, row), 6000);
  EXPECT_EQ(row.back(), kEnd);
}

TEST(Clip, ManyThreadsGiveTheSameIds) {
  const auto tokenizer = make_tokenizer({});
  const auto all_rows = [&tokenizer] {
    std::vector<Row> rows;
    for (int i = 0; i < 3000; ++i) {
      Row row(77);
      tokenizer->encode("word" + std::to_string(i * 31 % 997) + " caf\xC3\xA9 and more", row);
      rows.push_back(std::move(row));
    }
    return rows;
  };
  const std::vector<Row> expected = all_rows();
  std::vector<std::vector<Row>> found(4);
  std::vector<std::thread> threads;
  for (auto& rows : found) threads.emplace_back([&rows, &all_rows] { rows = all_rows(); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& rows : found) EXPECT_TRUE(rows == expected);
}

class Reductions : public ::testing::TestWithParam<const char*> {};

// 30 ids, all different, in a context of 12.
const std::string kLong =
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "red blue green black white dog cat bird fish car tree house sky water";

TEST_P(Reductions, KeepsContextLessTwo) {
  const std::string how = GetParam();
  const auto tokenizer = make_tokenizer({.context_length = 12, .reduction = how});
  Row whole(32);
  ASSERT_EQ(make_tokenizer({.context_length = 32})->encode(kLong, whole), 32);
  std::set<Row> rows;
  std::set<std::int32_t> kept;
  for (std::uint64_t g = 0; g < 200; ++g) {
    const std::uint64_t stream = derive(42, Purpose::token_reduction, g);
    Row row(12, -1);
    EXPECT_EQ(tokenizer->encode(kLong, row, stream), 32);
    EXPECT_EQ(row.front(), kStart);
    EXPECT_EQ(row.back(), kEnd);
    const Row middle(row.begin() + 1, row.end() - 1);
    Row places;
    for (const std::int32_t id : middle) {
      const auto at = std::find(whole.begin() + 1, whole.end() - 1, id);
      ASSERT_NE(at, whole.end() - 1);
      places.push_back(static_cast<std::int32_t>(at - whole.begin()));
    }
    EXPECT_EQ(std::set<std::int32_t>(places.begin(), places.end()).size(), 10U);
    const bool block = places.back() - places.front() == 9;
    const bool ordered = std::is_sorted(places.begin(), places.end());
    EXPECT_TRUE(ordered || how == "shuffle");
    EXPECT_TRUE(block || how != "simple");
    rows.insert(row);
    kept.insert(places.begin(), places.end());
    Row again(12);
    tokenizer->encode(kLong, again, stream);
    EXPECT_EQ(again, row);
  }
  EXPECT_EQ(kept.size(), 30U);  // every id has its chance
  // A block has 21 places to start at; subsets hardly ever come twice.
  EXPECT_TRUE(how == "simple" ? rows.size() == 21 : rows.size() > 195) << rows.size();
  // Without a stream nothing is drawn, and short captions stay as they are.
  Row cut(12);
  Row plain(12);
  tokenizer->encode(kLong, cut);
  make_tokenizer({.context_length = 12})->encode(kLong, plain);
  EXPECT_EQ(cut, plain);
  tokenizer->encode("a cat", cut, 7);
  make_tokenizer({.context_length = 12})->encode("a cat", plain);
  EXPECT_EQ(cut, plain);
}
INSTANTIATE_TEST_SUITE_P(All, Reductions, ::testing::Values("simple", "random", "shuffle"));

TEST(Options, Spec) {
  EXPECT_EQ(parse_tokenizer_spec("clip").kind, "clip");
  const TokenizerOptions o = parse_tokenizer_spec(
      "sentencepiece:a/b.model,context_length=64,clean=canonicalize,eos_id=2,pad_id=0,bos_id=5,"
      "unk_id=3,id_offset=1,special_text=literal");
  EXPECT_EQ(o.kind, "sentencepiece");
  EXPECT_EQ(o.path, "a/b.model");
  EXPECT_EQ(o.context_length, 64);
  EXPECT_EQ(o.clean, "canonicalize");
  EXPECT_EQ((std::vector<int>{o.bos_id, o.eos_id, o.pad_id, o.unk_id, o.id_offset}),
            (std::vector<int>{5, 2, 0, 3, 1}));
  EXPECT_TRUE(parse_tokenizer_spec("wordpiece:v.txt,strip_sep=true").strip_sep);
  EXPECT_EQ(parse_tokenizer_spec("clip,reduction=random").reduction, "random");
}

TEST(Options, SpecsOfTheReferencePage) {
  const std::string page =
      read_file(std::string(PLUMBLINE_SOURCE_DIR) + "/docs/reference/tokenizers.md");
  const std::regex spec("`((sentencepiece|wordpiece):[^`]+)`");
  int found = 0;
  for (auto at = std::sregex_iterator(page.begin(), page.end(), spec); at != std::sregex_iterator();
       ++at, ++found) {
    EXPECT_EQ(parse_tokenizer_spec((*at)[1].str()).kind, (*at)[2].str());
  }
  EXPECT_EQ(found, 5);
}

TEST(Options, BadSpecNamesKeyAndValue) {
  const auto message = [](const char* spec) -> std::string {
    try {
      (void)parse_tokenizer_spec(spec);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message("clip,context_length=7x").find("context_length: '7x'"), std::string::npos);
  EXPECT_NE(message("clip,lower").find("'lower' is not key=value"), std::string::npos);
  EXPECT_NE(message("clip,colour=red").find("unknown tokenizer key 'colour'"), std::string::npos);
  EXPECT_NE(message("wordpiece:v,strip_sep=1").find("strip_sep: '1'"), std::string::npos);
}

TEST(Options, BadOptionsSayWhy) {
  EXPECT_NE(what_of({.kind = "bpe"}).find("'bpe'"), std::string::npos);
  EXPECT_NE(what_of({.clean = "upper"}).find("'upper'"), std::string::npos);
  EXPECT_NE(what_of({.reduction = "syntax"}).find("'syntax'"), std::string::npos);
  EXPECT_NE(what_of({.special_text = "eot"}).find("'eot'"), std::string::npos);
  EXPECT_NE(what_of({.context_length = 1}).find("context_length 1"), std::string::npos);
  EXPECT_NE(what_of({.kind = "wordpiece"}).find("path"), std::string::npos);
  EXPECT_NE(what_of({.path = "absent.gz"}).find("absent.gz"), std::string::npos);
  const std::string other = std::string(PLUMBLINE_SOURCE_DIR) + "/CMakeLists.txt";
  EXPECT_NE(what_of({.path = other}).find("SHA-256"), std::string::npos);
  EXPECT_NE(what_of({.kind = "wordpiece", .path = other}).find("no [UNK]"), std::string::npos);
}

}  // namespace
}  // namespace plumbline
