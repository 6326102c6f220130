// Multi-hot labels: numpy's format, the listing of a folder, average precision, the files.
#include "eval/multilabel.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "eval/set_bytes.h"
#include "plumbline/error.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

using Labels = std::vector<std::int32_t>;

/// An array as numpy.save writes it: header padded with spaces to a multiple of 64.
template <typename T>
std::string npy(const std::string& type, const std::vector<T>& values,
                const char* shape = nullptr) {
  std::string header = str("{'descr': '", type, "', 'fortran_order': False, 'shape': (",
                           shape != nullptr ? std::string(shape) : str(values.size(), ","), "), }");
  header.append(64 - (10 + header.size() + 1) % 64, ' ').append("\n");
  std::string out = "\x93NUMPY";
  out.append("\x01", 1).append(1, '\0');
  out += static_cast<char>(header.size() % 256);
  out += static_cast<char>(header.size() / 256);
  out += header;
  out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  return out;
}

std::string failure(const std::string& bytes, std::int64_t classes) {
  try {
    (void)read_multi_hot(bytes, classes, "0.tar: sample 'x' ");
  } catch (const DataError& e) {
    return e.what();
  }
  return "read";
}

TEST(MultiHot, TheTypesThatWritersUse) {
  const Labels expected = {1, 3};
  EXPECT_EQ(read_multi_hot(npy<std::int64_t>("<i8", {0, 1, 0, 1}), 4, ""), expected);
  EXPECT_EQ(read_multi_hot(npy<std::int32_t>("<i4", {0, 1, 0, 1}), 4, ""), expected);
  EXPECT_EQ(read_multi_hot(npy<std::uint8_t>("|u1", {0, 1, 0, 255}), 4, ""), expected);
  EXPECT_EQ(read_multi_hot(npy<std::uint8_t>("|b1", {0, 1, 0, 1}), 4, ""), expected);
  EXPECT_EQ(read_multi_hot(npy<float>("<f4", {0, 1, -0.0F, 1}), 4, ""), expected);
  EXPECT_EQ(read_multi_hot(npy<double>("<f8", {0, 1, 0, 1}), 4, ""), expected);
  EXPECT_TRUE(read_multi_hot(npy<std::int64_t>("<i8", {0, 0}), 2, "").empty());
}

TEST(MultiHot, WhatIsWrongIsNamed) {
  const std::string good = npy<std::int64_t>("<i8", {0, 1, 0});
  const auto expect = [](const std::string& text, const std::string& part) {
    EXPECT_EQ(text.find("0.tar: sample 'x' "), 0U) << text;
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  expect(failure(good, 4), "the shape (3,) and 24 bytes, but there are 4 classes");
  expect(failure(good.substr(0, good.size() - 1), 3), "23 bytes");
  expect(failure(npy<std::int64_t>("<i8", {0, 1, 0}, "3, 1"), 3), "the shape (3, 1)");
  expect(failure(npy<std::int64_t>("<i8", {0, 1, 0}, ""), 3), "the shape ()");
  expect(failure(npy<std::int64_t>(">i8", {0, 1, 0}), 3), "the type '>i8'");
  expect(failure(npy<std::int64_t>("|O", {0, 1, 0}), 3), "the type '|O'");
  for (const std::string& bad :
       {std::string(), std::string("no array at all"), good.substr(0, 9), good.substr(0, 40)}) {
    expect(failure(bad, 3), "no numpy array");
  }
}

TEST(AveragePrecision, ByHand) {
  const std::vector<float> scores = {0.9F, 0.8F, 0.7F, 0.6F};
  const auto ap = [&](std::vector<std::uint8_t> positive) {
    return average_precision(scores, positive);
  };
  EXPECT_DOUBLE_EQ(ap({1, 0, 1, 0}), (1.0 + 2.0 / 3) / 2);
  EXPECT_DOUBLE_EQ(ap({0, 0, 0, 1}), 0.25);
  EXPECT_DOUBLE_EQ(ap({1, 1, 1, 1}), 1);
  EXPECT_DOUBLE_EQ(ap({0, 0, 0, 0}), 0);
  const std::vector<float> tied = {1, 1, 1};
  EXPECT_DOUBLE_EQ(average_precision(tied, std::vector<std::uint8_t>{0, 1, 0}), 0.5);
}

class MultilabelFolder : public ::testing::Test {
 protected:
  void write(const std::vector<std::vector<std::int64_t>>& rows) {
    test::write_file(folder_ / "v/dataset_type.txt", "multilabel\n");
    test::write_file(folder_ / "v/classnames.txt", "cat\ndog\nbee\n");
    test::write_file(folder_ / "v/test/nshards.txt", "1\n");
    std::vector<test::TarMember> members;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      members.push_back({str("s", i, ".png"), test::make_png(5, 5, i)});
      if (!rows[i].empty())
        members.push_back({str("s", i, ".npy"), npy<std::int64_t>("<i8", rows[i])});
    }
    test::write_tar(folder_ / "v/test/0.tar", members);
  }
  EvalSetOptions options(const std::string& kind) {
    EvalSetOptions o;
    o.name = "v";
    o.layout = "webdataset";
    o.path = folder_ / "v";
    o.kind = kind;
    return o;
  }
  test::TempFolder folder_;
};

TEST_F(MultilabelFolder, LabelsComeFromNpyMembers) {
  write({{1, 0, 1}, {0, 0, 0}, {0, 1, 0}});
  const EvalSet set = open_eval_set(options("multilabel"), "photo", "");
  EXPECT_EQ(set.labels, (std::vector<Labels>{{0, 2}, {}, {1}}));
  EXPECT_TRUE(set.targets.empty());
  EXPECT_EQ(set.prompts[2], (std::vector<std::string>{"a photo of a bee."}));
  EXPECT_EQ(unpack(pack(set), set.options).labels, set.labels);
  EXPECT_THROW((void)open_eval_set(options("classification"), "photo", ""), UsageError);
  EvalSetOptions elsewhere = options("multilabel");
  elsewhere.layout = "imagefolder";
  EXPECT_THROW((void)open_eval_set(elsewhere, "photo", ""), UsageError);
  write({{1, 0, 1}, {}});
  EXPECT_THROW((void)open_eval_set(options("multilabel"), "photo", ""), DataError);
}

TEST_F(MultilabelFolder, ResultsAndScores) {
  EvalResults results;
  SetResult& set = results.sets.emplace_back();
  set.options = options("multilabel");
  set.class_names = {"cat", "dog"};
  set.n = 2;
  set.multilabel = measure_multilabel({0.5F, 0.1F, 0.25F, 0.75F}, {{0, 1}, {}}, 2);
  set.multilabel->keys = {"a", "b,c"};
  write_results(results, folder_ / "out");
  const auto json = nlohmann::json::parse(read_file(folder_ / "out/results.json"))["sets"][0];
  EXPECT_EQ(json["mean_average_precision"], 0.75);
  EXPECT_EQ(json["class_average_precision"], (std::vector<double>{1, 0.5}));
  EXPECT_EQ(json["class_positives"], (std::vector<int>{1, 1}));
  EXPECT_TRUE(json["top1"].is_null());
  EXPECT_EQ(read_file(folder_ / "out/multilabel/v.csv"),
            "key,labels,score0,score1\na,0 1,0.5,0.100000001\n\"b,c\",,0.25,0.75\n");
  EXPECT_NE(print_table(results).find("75.00"), std::string::npos);
}

}  // namespace
}  // namespace plumbline
