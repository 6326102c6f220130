// Rows of the sentencepiece kind, with a small model trained here.
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "plumbline/error.h"
#include "plumbline/tokenizer.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Row = std::vector<std::int32_t>;

class Sentencepiece : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::temp_directory_path() / ("plumbline_sp_" + std::to_string(::getpid()));
    fs::create_directory(folder_);
    std::ofstream text(folder_ / "text.txt");
    const std::vector<std::string> words = {"a",   "photo", "of",  "the",  "cat", "dog",
                                            "red", "blue",  "car", "tree", "sky", "house"};
    for (std::size_t i = 0; i < 300; ++i) {
      for (std::size_t k = 0; k < 6; ++k) text << words[(i * 7 + k * (i % 5 + 1)) % 12] << ' ';
      text << '\n';
    }
    text.close();
    const auto status = sentencepiece::SentencePieceTrainer::Train(
        "--input=" + (folder_ / "text.txt").string() +
        " --model_prefix=" + (folder_ / "small").string() +
        " --vocab_size=60 --hard_vocab_limit=false --minloglevel=2 --num_threads=1"
        " --pad_id=0 --eos_id=1 --unk_id=2 --bos_id=-1");
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }

  static TokenizerOptions options() {
    return {.kind = "sentencepiece", .context_length = 8, .path = folder_ / "small.model"};
  }
  static Row row_of(const TokenizerOptions& o, const std::string& caption, int* total = nullptr) {
    Row row(static_cast<std::size_t>(o.context_length), -7);
    const int n = make_tokenizer(o)->encode(caption, row);
    if (total != nullptr) *total = n;
    return row;
  }
  /// What the library itself gives for text that is already clean.
  static Row raw_ids(const std::string& text) {
    sentencepiece::SentencePieceProcessor processor;
    EXPECT_TRUE(processor.Load((folder_ / "small.model").string()).ok());
    std::vector<int> ids;
    EXPECT_TRUE(processor.Encode(text, &ids).ok());
    return {ids.begin(), ids.end()};
  }
  static fs::path folder_;
};
fs::path Sentencepiece::folder_;

TEST_F(Sentencepiece, ShortCaptionIsIdsEosPad) {
  Row expected = raw_ids("a cat");
  ASSERT_LT(expected.size(), 6U);
  const auto total = static_cast<int>(expected.size()) + 1;
  expected.push_back(1);
  expected.resize(8, 1);  // SigLIP pads with eos
  int counted = 0;
  EXPECT_EQ(row_of(options(), "a cat", &counted), expected);
  EXPECT_EQ(counted, total);

  TokenizerOptions other = options();
  other.pad_id = 0;
  std::fill(expected.begin() + total, expected.end(), 0);
  EXPECT_EQ(row_of(other, "  a \t cat "), expected);
}

TEST_F(Sentencepiece, LongCaptionKeepsItsSpecialIds) {
  const std::string text = "the red car of the blue dog of the tree house sky";
  const Row ids = raw_ids(text);
  ASSERT_GT(ids.size(), 8U);
  Row expected(ids.begin(), ids.begin() + 7);
  expected.push_back(1);
  int total = 0;
  EXPECT_EQ(row_of(options(), text, &total), expected);
  EXPECT_EQ(total, static_cast<int>(ids.size()) + 1);

  TokenizerOptions both = options();
  both.bos_id = 55;
  both.eos_id = 56;
  expected.assign(ids.begin(), ids.begin() + 6);
  expected.insert(expected.begin(), 55);
  expected.push_back(56);
  EXPECT_EQ(row_of(both, text), expected);
}

TEST_F(Sentencepiece, OffsetAndUnknown) {
  TokenizerOptions o = options();
  o.id_offset = 1;
  o.unk_id = 3;
  o.eos_id = 2;
  o.pad_id = 1;
  const Row raw = raw_ids("cat \xE7\x8C\xAB");  // no such character in the model
  ASSERT_EQ(std::count(raw.begin(), raw.end(), 2), 1);
  Row expected;
  for (const std::int32_t id : raw) expected.push_back(id == 2 ? 3 : id + 1);
  expected.push_back(2);
  expected.resize(8, 1);
  EXPECT_EQ(row_of(o, "cat \xE7\x8C\xAB"), expected);
  EXPECT_GT(make_tokenizer(o)->vocab_size(), make_tokenizer(options())->vocab_size());
}

TEST_F(Sentencepiece, CleaningComesFirst) {
  TokenizerOptions o = options();
  o.clean = "canonicalize";
  EXPECT_EQ(row_of(o, "A_CAT!"), row_of(options(), "a cat"));
  EXPECT_NE(row_of(options(), "A_CAT!"), row_of(options(), "a cat"));
}

TEST_F(Sentencepiece, RefusesWhatItCannotDo) {
  TokenizerOptions o = options();
  o.path = folder_ / "text.txt";
  EXPECT_THROW((void)make_tokenizer(o), DataError);
  o.path = folder_ / "absent.model";
  EXPECT_THROW((void)make_tokenizer(o), DataError);
  o.path = "";
  EXPECT_THROW((void)make_tokenizer(o), UsageError);
  o = options();
  o.reduction = "simple";
  EXPECT_THROW((void)make_tokenizer(o), UsageError);
  o = options();
  o.pad_id = -1;
  EXPECT_THROW((void)make_tokenizer(o), UsageError);
}

}  // namespace
}  // namespace plumbline
