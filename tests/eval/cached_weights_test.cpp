// Classifier weights from the cache: the same numbers, no text encoded, at any number of ranks;
// what changes the weights is another entry.
#include <gtest/gtest.h>

#include <mutex>

#include "core/file.h"
#include "plumbline/error.h"
#include "plumbline/eval.h"
#include "tests/eval/fake_model.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using test::ByteTokenizer;
using test::FakeModel;

using Prompts = std::vector<std::vector<std::string>>;
const Prompts kPrompts = {{"a cat", "one cat"}, {"a dog"}, {"bees", "a bee", "the bee"}, {"cow"}};

class CachedWeights : public ::testing::Test {
 protected:
  void SetUp() override { torch::set_num_threads(1); }
  struct Answer {
    at::Tensor weights;
    std::int64_t encoded = 0;  ///< texts, over all ranks
    std::vector<std::string> warnings;
  };
  Answer ask(const Prompts& prompts, int world = 1,
             const std::function<void(FakeModel&, EvalContext&)>& change = {}) {
    Answer answer;
    std::mutex mutex;
    run_in_process(world, [&](Communicator& host) {
      const torch::NoGradGuard no_grad;
      FakeModel model(6, tokenizer_.context_length(), 8);
      EvalContext context{model, tokenizer_, {}, host};
      context.batch = 4;
      context.classifier_cache = folder_ / "cache";
      context.warn = [&](const std::string& line) {
        const std::lock_guard lock(mutex);
        answer.warnings.push_back(line);
      };
      if (change) change(model, context);
      const at::Tensor weights = zero_shot_weights(prompts, context);
      const std::lock_guard lock(mutex);
      if (answer.weights.defined()) {
        EXPECT_TRUE(torch::equal(answer.weights, weights));
      }
      answer.weights = weights;
      answer.encoded += model.texts_seen;
    });
    return answer;
  }
  [[nodiscard]] std::vector<std::string> entries() const {
    std::vector<std::string> paths;
    for (const auto& file : fs::directory_iterator(folder_ / "cache")) {
      paths.push_back(file.path().string());
    }
    return paths;
  }

  test::TempFolder folder_;
  ByteTokenizer tokenizer_;
};

TEST_F(CachedWeights, AreBitwiseTheComputedOnesAtEveryWorldSize) {
  const Answer plain =
      ask(kPrompts, 1, [](FakeModel&, EvalContext& context) { context.classifier_cache.clear(); });
  EXPECT_EQ(plain.encoded, 7);
  EXPECT_FALSE(fs::exists(folder_ / "cache"));
  const Answer first = ask(kPrompts, 2);
  EXPECT_EQ(first.encoded, 7);
  EXPECT_TRUE(torch::equal(first.weights, plain.weights));
  EXPECT_EQ(entries().size(), 1U);
  for (const int world : {1, 2, 3}) {
    const Answer again = ask(kPrompts, world);
    EXPECT_EQ(again.encoded, 0) << world;
    EXPECT_TRUE(torch::equal(again.weights, plain.weights)) << world;
    EXPECT_TRUE(again.warnings.empty());
  }
}

TEST_F(CachedWeights, WhatChangesTheRowsIsAnotherEntry) {
  (void)ask(kPrompts);
  EXPECT_EQ(ask({{"a cat", "one cat"}, {"a dog"}, {"bees", "a bee", "the bee"}, {"cows"}}).encoded,
            7)
      << "another text";
  EXPECT_EQ(ask({{"a cat"}, {"one cat", "a dog"}, {"bees", "a bee", "the bee"}, {"cow"}}).encoded,
            7)
      << "the same texts of other classes";
  EXPECT_EQ(ask(kPrompts, 1,
                [](FakeModel& model, EvalContext&) {
                  model.named_parameters()["text"].index_put_({0, 0}, 0.125F);
                })
                .encoded,
            7)
      << "other weights";
  EXPECT_EQ(ask(kPrompts, 1, [](FakeModel&, EvalContext& context) { context.batch = 3; }).encoded,
            7)
      << "another batch rounds differently";
  EXPECT_EQ(
      ask(kPrompts, 1, [](FakeModel& model, EvalContext&) { model.logit_scale().fill_(3.0F); })
          .encoded,
      0)
      << "the scale has no part in the rows";
  EXPECT_EQ(entries().size(), 5U);
}

TEST_F(CachedWeights, ADamagedEntryIsComputedAgainAndMended) {
  const at::Tensor weights = ask(kPrompts).weights;
  const std::string path = entries().at(0), good = read_file(path);
  test::write_file(path, good.substr(0, good.size() / 2));
  const Answer again = ask(kPrompts, 2);
  EXPECT_EQ(again.encoded, 7);
  EXPECT_TRUE(torch::equal(again.weights, weights));
  EXPECT_EQ(read_file(path), good);
}

TEST_F(CachedWeights, AFolderThatCannotBeWrittenIsAWarning) {
  test::write_file(folder_ / "file", "");
  const Answer answer = ask(kPrompts, 2, [&](FakeModel&, EvalContext& context) {
    context.classifier_cache = folder_ / "file/below";
  });
  EXPECT_EQ(answer.encoded, 7);
  ASSERT_EQ(answer.warnings.size(), 1U) << "rank 0 alone";
  EXPECT_NE(answer.warnings[0].find("file/below"), std::string::npos);
  EXPECT_TRUE(torch::equal(answer.weights, ask(kPrompts).weights));
}

TEST_F(CachedWeights, ATextThatIsNoUtf8ReachesEveryRank) {
  std::mutex mutex;
  int refused = 0;
  run_in_process(3, [&](Communicator& host) {
    FakeModel model(6, tokenizer_.context_length(), 8);
    EvalContext context{model, tokenizer_, {}, host};
    context.classifier_cache = folder_ / "cache";
    try {
      (void)zero_shot_weights({{"fine"}, {"\xff"}}, context);
    } catch (const Error& e) {
      const std::lock_guard lock(mutex);
      refused += e.code() == ExitCode::bad_data ? 1 : 0;
    }
  });
  EXPECT_EQ(refused, 3);
}

}  // namespace
}  // namespace plumbline
