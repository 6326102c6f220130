// Token ids against OpenCLIP's: the committed golden file always, freshly fuzzed captions where the
// Python environment is installed.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/philox.h"
#include "plumbline/handle.h"
#include "plumbline/tokenizer.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
const std::string kGolden = std::string(PLUMBLINE_SOURCE_DIR) + "/tests/golden/";
const std::string kPython = std::string(PLUMBLINE_SOURCE_DIR) + "/.venv/bin/python";

struct Record {
  int mode;
  std::string caption;
  int total;
  std::vector<std::int32_t> row;
};

/// The records of make_text_golden.py; gzread also reads files that are not compressed.
std::vector<Record> read_records(const std::string& path) {
  const Handle<gzFile_s, gzclose> file(gzopen(path.c_str(), "rb"));
  EXPECT_TRUE(file) << path;
  std::vector<Record> records;
  const auto read = [&](void* out, std::size_t bytes) {
    return gzread(file.get(), out, static_cast<unsigned>(bytes)) == static_cast<int>(bytes);
  };
  std::uint8_t mode = 0;
  while (read(&mode, 1)) {
    Record record{mode, {}, 0, {}};
    std::uint32_t bytes = 0;
    std::uint16_t total = 0;
    std::uint8_t ids = 0;
    EXPECT_TRUE(read(&bytes, 4));
    record.caption.resize(bytes);
    EXPECT_TRUE(read(record.caption.data(), bytes) && read(&total, 2) && read(&ids, 1));
    record.total = total;
    for (int i = 0; i < ids; ++i) {
      std::uint16_t id = 0;
      EXPECT_TRUE(read(&id, 2));
      record.row.push_back(id);
    }
    records.push_back(std::move(record));
  }
  return records;
}

std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text) {
    std::array<char, 8> hex{};
    std::snprintf(hex.data(), hex.size(), "\\x%02x", static_cast<unsigned char>(c));
    out += c >= 0x20 && c < 0x7F ? std::string(1, c) : hex.data();
  }
  return out;
}

/// `tokenizers[record.mode]` must give the ids of each record.
void expect_equal(const std::vector<Record>& records,
                  const std::vector<std::unique_ptr<Tokenizer>>& tokenizers) {
  int wrong = 0;
  for (const Record& record : records) {
    const Tokenizer& tokenizer = *tokenizers.at(static_cast<std::size_t>(record.mode));
    std::vector<std::int32_t> row(static_cast<std::size_t>(tokenizer.context_length()), -1);
    const int total = tokenizer.encode(record.caption, row);
    std::vector<std::int32_t> expected = record.row;
    expected.resize(row.size());
    if ((total == record.total && row == expected) || ++wrong > 10) continue;
    ADD_FAILURE() << "mode " << record.mode << " '" << printable(record.caption) << "'\n  ours "
                  << total << ": " << ::testing::PrintToString(row) << "\n  peer " << record.total
                  << ": " << ::testing::PrintToString(record.row);
  }
  EXPECT_EQ(wrong, 0) << "of " << records.size();
}

std::vector<std::unique_ptr<Tokenizer>> clip_tokenizers() {
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  for (const char* mode : {"lower", "whitespace", "canonicalize"}) {
    tokenizers.push_back(make_tokenizer({.clean = mode, .special_text = "openclip"}));
  }
  return tokenizers;
}

/// Runs a command; its exit status.
int run(const std::string& command) {
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Golden, IdsEqualOpenClip) {
  const std::vector<Record> records = read_records(kGolden + "text_golden.bin.gz");
  ASSERT_GT(records.size(), 2000U);
  expect_equal(records, clip_tokenizers());
}

TEST(Golden, LiteralAndOpenclipDifferOnlyOnSpecialText) {
  const auto literal = make_tokenizer({});
  const auto openclip = make_tokenizer({.special_text = "openclip"});
  std::vector<std::int32_t> a(77);
  std::vector<std::int32_t> b(77);
  int special = 0;
  for (const Record& record : read_records(kGolden + "text_golden.bin.gz")) {
    literal->encode(record.caption, a);
    openclip->encode(record.caption, b);
    // The marks of the row itself stand once each.
    EXPECT_EQ(std::count(a.begin(), a.end(), 49406), 1);
    EXPECT_EQ(std::count(a.begin(), a.end(), 49407), 1);
    if (a != b) ++special;
  }
  EXPECT_GT(special, 20);
}

/// A fresh folder, removed with everything in it.
class Live : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kPython)) GTEST_SKIP() << "no Python environment: run launch/setup.sh";
    fs::create_directory(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void run_script(const std::string& arguments) {
    ASSERT_EQ(run("'" + kPython + "' '" + kGolden + "make_text_golden.py' " + arguments), 0);
  }
  /// Another seed tries other captions: PLUMBLINE_TEST_SEED. The golden file has 1.
  static std::string seed() {
    const char* seed = std::getenv("PLUMBLINE_TEST_SEED");
    return seed != nullptr ? seed : "2";
  }
  const fs::path folder_ =
      fs::temp_directory_path() / ("plumbline_text_" + std::to_string(::getpid()));
};

TEST_F(Live, IdsEqualOpenClip) {
  const std::string path = folder_ / "records";
  run_script(path + " 11000 " + seed());
  const std::vector<Record> records = read_records(path);
  ASSERT_GT(records.size(), 11000U);
  expect_equal(records, clip_tokenizers());
}

TEST_F(Live, WordpieceIdsEqualBertUncased) {
  const std::string vocabulary = folder_ / "vocab.txt";
  const std::string path = folder_ / "records";
  run_script("--wordpiece " + vocabulary + " " + path + " 3000 " + seed());
  const std::vector<Record> records = read_records(path);
  ASSERT_EQ(records.size(), 3000U);
  std::vector<std::unique_ptr<Tokenizer>> tokenizers(2);
  tokenizers[1] = make_tokenizer({.kind = "wordpiece",
                                  .context_length = 32,
                                  .path = vocabulary,
                                  .special_text = "openclip",
                                  .strip_sep = true});
  expect_equal(records, tokenizers);
}

/// Models as SigLIP, SigLIP2 and MetaCLIP2 have them, trained by the script on the way.
TEST_F(Live, SentencepieceIdsEqualOpenClip) {
  const std::string path = folder_ / "records";
  run_script("--sentencepiece " + folder_.string() + " " + path + " 3000 " + seed());
  const std::vector<Record> records = read_records(path);
  ASSERT_GT(records.size(), 8700U);
  const TokenizerOptions t5 = {.kind = "sentencepiece",
                               .context_length = 64,
                               .path = folder_ / "t5.model",
                               .clean = "canonicalize"};
  TokenizerOptions gemma = t5, xlmr = t5;
  gemma.path = folder_ / "gemma.model";
  gemma.pad_id = 0;
  xlmr.path = folder_ / "xlmr.model";
  xlmr.clean = "whitespace";
  xlmr.bos_id = 0;
  xlmr.eos_id = 2;
  xlmr.unk_id = 3;
  xlmr.id_offset = 1;
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  for (const TokenizerOptions& options : {t5, gemma, xlmr}) {
    tokenizers.push_back(make_tokenizer(options));
  }
  expect_equal(records, tokenizers);
}

/// How often each id stands at each place of the row, and beside which id.
using Counts = std::map<std::array<int, 3>, double>;

void count_row(const std::vector<std::int32_t>& row, Counts& counts) {
  for (std::size_t i = 1; i + 1 < row.size(); ++i) {
    ++counts[{0, static_cast<int>(i), row[i]}];
    if (i + 2 < row.size()) ++counts[{1, row[i], row[i + 1]}];
  }
}

/// Chi-square of two samples of the same size, over cells with enough of both, and the number of
/// those cells.
std::pair<double, double> chi_square(const Counts& a, const Counts& b, int table) {
  double sum = 0, cells = 0;
  for (const auto& [cell, n] : a) {
    const auto other = b.find(cell);
    if (cell[0] != table || other == b.end() || n + other->second < 20) continue;
    sum += (n - other->second) * (n - other->second) / (n + other->second);
    ++cells;
  }
  return {sum, cells};
}

/// Random reductions draw other numbers; what they give must have the peer's distribution.
TEST_F(Live, ReductionsAreDistributedAsOpenClips) {
  constexpr int kDraws = 4000;
  const std::string path = folder_ / "records";
  run_script("--reduction " + path + " " + std::to_string(kDraws) + " " + seed());
  const std::vector<Record> records = read_records(path);
  ASSERT_EQ(records.size(), 3U * (kDraws + 1));
  const std::array<const char*, 3> kinds = {"simple", "random", "shuffle"};
  for (std::size_t mode = 0; mode < kinds.size(); ++mode) {
    SCOPED_TRACE(kinds[mode]);
    const auto tokenizer = make_tokenizer({.context_length = 12, .reduction = kinds[mode]});
    Counts ours, theirs;
    std::set<std::vector<std::int32_t>> our_rows, their_rows;
    std::uint64_t stream = 0;
    for (const Record& record : records) {
      if (record.mode != static_cast<int>(mode)) continue;
      std::vector<std::int32_t> row(12), expected = record.row;
      expected.resize(12);
      EXPECT_EQ(
          tokenizer->encode(record.caption, row, derive(9, Purpose::token_reduction, ++stream)),
          record.total);
      if (record.total <= 12) {
        EXPECT_EQ(row, expected);  // nothing to reduce
        continue;
      }
      EXPECT_EQ(row.front(), expected.front());
      EXPECT_EQ(row.back(), expected.back());
      count_row(row, ours);
      count_row(expected, theirs);
      our_rows.insert(row);
      their_rows.insert(expected);
    }
    // Cells are not independent: within twice of what they would give, where a biased draw gives
    // ten times.
    for (const int table : {0, 1}) {
      const auto [sum, cells] = chi_square(ours, theirs, table);
      EXPECT_GT(cells, 25);
      EXPECT_LT(sum, 2 * cells + 60) << "table " << table << ", " << cells << " cells";
    }
    if (mode == 0) {
      EXPECT_EQ(our_rows.size(), 21U);
      EXPECT_EQ(our_rows, their_rows);
    }
  }
}

}  // namespace
}  // namespace plumbline
