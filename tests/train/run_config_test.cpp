#include "train/run_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

constexpr char kRun[] = R"(
run: {name: x, dir: runs/x, seed: 18446744073709551615}
model: {name: tiny-vit}
data:
  sources:
    - {name: a, shards: "a/{00..03}.tar", weight: 2.5}
    - {name: b, shards: [b.tar, c.tar], captions: {keys: [txt, "json:title"], probs: [1, 3]}}
  train_transform: {ratio: [0.75, 1.3333]}
train: {global_batch: 64, samples: 6400}
optimizer: {lr: 3.0e-4, betas: [0.9, 0.95], clip_norm: 1.0}
)";

std::string write_run(const std::string& text) {
  const fs::path path = fs::temp_directory_path() / ("plumbline_run_" + std::to_string(getpid()));
  std::ofstream(path) << text;
  return path.string();
}

TEST(RunConfig, ReadsValuesAndDefaults) {
  const RunConfig c = read_run(write_run(kRun), {"schedule.warmup_steps=7"});
  EXPECT_EQ(c.run.seed, ~std::uint64_t{0});
  ASSERT_EQ(c.data.sources.size(), 2U);
  EXPECT_EQ(c.data.sources[0].weight, 2.5);
  EXPECT_EQ(c.data.sources[1].shards, (std::vector<std::string>{"b.tar", "c.tar"}));
  EXPECT_EQ(c.data.sources[1].captions.probs, (std::vector<double>{1, 3}));
  EXPECT_EQ(c.data.train_transform.ratio[1], 4.0 / 3.0);
  EXPECT_EQ(c.optimizer.beta2, 0.95);
  EXPECT_EQ(c.optimizer.clip_norm, 1.0);
  EXPECT_EQ(c.schedule.warmup_steps, 7);
  EXPECT_EQ(c.tokenizer.context_length, 16);  // the model's
  EXPECT_EQ(c.preprocess.height, 32);
  EXPECT_EQ(c.preprocess.mean[0], 0.48145466f);
  EXPECT_EQ(c.checkpoint.keep_last, 2);
}

TEST(RunConfig, ResolvedFileKeepsTokenizerAndAugmentation) {
  const std::vector<std::string> set = {"tokenizer.strip_sep=true", "data.train_transform.flip=0.5",
                                        "data.train_transform.color_jitter=[0.4, 0.4, 0.4, 0.1]",
                                        "data.train_transform.color_jitter_prob=0.8",
                                        "data.train_transform.gray_scale_prob=0.2"};
  const RunConfig c = read_run(write_run(to_yaml(read_run(write_run(kRun), set))), {});
  EXPECT_TRUE(c.tokenizer.strip_sep);
  EXPECT_EQ(c.data.train_transform.flip, 0.5);
  EXPECT_EQ(c.data.train_transform.color_jitter, (std::vector<double>{0.4, 0.4, 0.4, 0.1}));
  EXPECT_EQ(c.data.train_transform.color_jitter_prob, 0.8);
  EXPECT_EQ(c.data.train_transform.gray_scale_prob, 0.2);
  const std::string run = write_run(kRun);
  EXPECT_THROW((void)read_run(run, {"data.train_transform.color_jitter=[0.4]"}), UsageError);
  EXPECT_THROW((void)read_run(run, {"data.train_transform.color_jitter_prob=0.8"}), UsageError);
}

TEST(RunConfig, ResolvedFileReadsBackTheSame) {
  const RunConfig first = read_run(write_run(kRun), {});
  const std::string yaml = to_yaml(first);
  const RunConfig second = read_run(write_run(yaml), {});
  EXPECT_EQ(to_yaml(second), yaml);
  EXPECT_EQ(second.resolved_model.source_json, first.resolved_model.source_json);
  EXPECT_EQ(second.run.seed, first.run.seed);
  EXPECT_EQ(second.data.sources[1].captions.keys, first.data.sources[1].captions.keys);
  EXPECT_EQ(parse_run(yaml, "kept").tokenizer.context_length, 16);
}

TEST(RunConfig, SigmoidLossHasItsOwnStart) {
  const RunConfig c = read_run(write_run(kRun), {"loss.kind=siglip"});
  EXPECT_DOUBLE_EQ(c.resolved_model.init_logit_scale, std::log(10.0));
  EXPECT_EQ(c.resolved_model.init_logit_bias, -10.0);
}

TEST(RunConfig, InlineModel) {
  const RunConfig c = read_run(write_run(kRun),
                               {"model.config={embed_dim: 8, vision_cfg: {image_size: 32, "
                                "patch_size: 16, width: 64, layers: 1},"
                                " text_cfg: {context_length: 9, width: 64, heads: 2, layers: 1}}"});
  EXPECT_EQ(c.resolved_model.embed_dim, 8);
  EXPECT_EQ(c.tokenizer.context_length, 9);
  EXPECT_EQ(read_run(write_run(to_yaml(c)), {}).resolved_model.embed_dim, 8);
}

TEST(RunConfig, ClassesMakeAClassifier) {
  const std::string names = write_run("cat\ndog\n") + "_names";
  fs::rename(write_run("cat\ndog\n"), names);
  const std::vector<std::string> supervised = {
      "model.classes=" + names, "loss.kind=cross_entropy", "data.sources.0.label={key: cls}",
      "data.sources.0.captions=none", "data.sources.1.label={key: 'json:y', names: " + names + "}"};
  const RunConfig c = read_run(write_run(kRun), supervised);
  EXPECT_EQ(c.resolved_model.class_names, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_TRUE(c.data.sources[0].captions.none);
  EXPECT_EQ(c.data.sources[1].label.names, names);
  const RunConfig again = read_run(write_run(to_yaml(c)), {});
  EXPECT_EQ(again.resolved_model.source_json, c.resolved_model.source_json);
  EXPECT_EQ(to_yaml(again), to_yaml(c));
  const std::vector<std::pair<std::size_t, std::string>> without = {
      {0, "is required by loss.kind cross_entropy"},
      {1, "must be cross_entropy"},
      {2, "'data.sources[0].label' is required"}};
  for (const auto& [left_out, text] : without) {
    std::vector<std::string> some = supervised;
    some.erase(some.begin() + static_cast<std::ptrdiff_t>(left_out));
    try {
      (void)read_run(write_run(kRun), some);
      ADD_FAILURE() << text;
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    }
  }
}

TEST(RunConfig, EveryMistakeIsAUsageErrorThatNamesIt) {
  const std::vector<std::pair<std::string, std::string>> mistakes = {
      {"data.sources.0.shard=x", "shard"},
      {"data.sources.0.weight=0", "positive"},
      {"data.sources.1.name=a", "twice"},
      {"train.steps=5", "exactly one of"},
      {"optimizer.betas=[0.9, 1.0]", "betas"},
      {"data.train_transform.scale=[0.9, 0.1]", "scale"},
      {"train.precision=fp8", "fp32, bf16"},
      {"loss.kind=ntxent", "two views"},
      {"data.sources.0.captions=none", "compares captions"},
      {"model.classes=nowhere.txt", "is no file"},
      {"data.sources.0.captions.clean=[x]", "unknown step"},
      {"data.train_transform.views=2", "one view"},
      {"evaluate.every_steps=5", "needs evaluate.suite"},
      {"optimizer.clip_norm=0", "positive"},
      {"preprocess.std=[1, 0, 1]", "positive"},
      {"preprocess.mean=[1]", "3 numbers"},
      {"tokenizer.context_length=17", "context_length"},
      {"checkpoint.keep_best=x.top1", "needs evaluate.suite"},
      {"spike.action=hope", "rollback"},
      {"nan.max_consecutive=0", "max_consecutive"}};
  for (const auto& [assignment, text] : mistakes) {
    try {
      (void)read_run(write_run(kRun), {assignment});
      ADD_FAILURE() << assignment;
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos)
          << assignment << ": " << e.what();
    }
  }
}

}  // namespace
}  // namespace plumbline
