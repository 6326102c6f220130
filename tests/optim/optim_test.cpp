#include "plumbline/optim.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "plumbline/error.h"

namespace plumbline {
namespace {

[[nodiscard]] std::vector<at::Tensor> read_pairs(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<at::Tensor> out;
  const std::vector<std::vector<std::int64_t>> shapes = {{300, 301}, {7}};
  while (in.peek() != std::ifstream::traits_type::eof()) {
    at::Tensor t = at::empty(shapes[out.size() % 2], at::kFloat);
    in.read(static_cast<char*>(t.data_ptr()), static_cast<std::streamsize>(t.nbytes()));
    require(in.good(), str(path.string(), " is truncated"));
    out.push_back(t);
  }
  return out;
}

TEST(AdamW, EqualsTorchBitForBit) {
  const std::string root = PLUMBLINE_SOURCE_DIR;
  const std::string python = root + "/.venv/bin/python";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "no Python environment at " << python;
  const auto folder = std::filesystem::temp_directory_path() / str("plumbline-adamw-", ::getpid());
  std::filesystem::create_directories(folder);
  const std::string command =
      str("OMP_NUM_THREADS=1 ", python, " ", root, "/tests/optim/torch_adamw.py ", folder.string());
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  auto start = read_pairs(folder / "start.bin");
  const auto grad = read_pairs(folder / "grad.bin"), want = read_pairs(folder / "after.bin");
  ASSERT_EQ(want.size(), 6u);
  for (at::Tensor& p : start) p.requires_grad_();
  AdamW optimizer({}, {{"w.weight", start[0]}, {"b.bias", start[1]}});
  std::ifstream factors(folder / "factor.txt");
  std::size_t kept = 0;
  for (int k = 0; k < 100; ++k) {
    for (std::size_t i = 0; i < 2; ++i) start[i].mutable_grad() = grad[i] / (k + 1);
    std::string word;
    ASSERT_TRUE(factors >> word);
    const double factor = std::strtod(word.c_str(), nullptr);
    if (k % 2 == 1) {
      const double norm = gradient_norm({{"w", start[0]}, {"b", start[1]}});
      EXPECT_NEAR(clip_factor(norm, 3.0), factor, 1e-6) << "step " << k;
    }
    optimizer.step(1e-3 * (1 + k % 7), factor);
    if (k + 1 != 1 && k + 1 != 10 && k + 1 != 100) continue;
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(at::equal(start[i].detach(), want[kept + i]))
          << "step " << k + 1 << " parameter " << i << ": "
          << (start[i].detach() - want[kept + i]).abs().max().item<double>();
    }
    kept += 2;
  }
  EXPECT_EQ(optimizer.applied_steps(), 100);
  std::filesystem::remove_all(folder);
}

[[nodiscard]] NamedTensors small_parameters() {
  at::Tensor w = at::linspace(-1, 1, 12).view({3, 4}).clone().requires_grad_();
  at::Tensor b = at::linspace(0, 1, 3).clone().requires_grad_();
  w.mutable_grad() = at::linspace(1, 2, 12).view({3, 4});
  return {{"w", w}, {"frozen.bias", b}};
}

TEST(AdamW, LeavesAParameterWithoutGradientAlone) {
  const NamedTensors parameters = small_parameters();
  const at::Tensor before = parameters[1].second.detach().clone();
  AdamW optimizer({}, parameters);
  optimizer.step(0.1, 1);
  EXPECT_TRUE(at::equal(parameters[1].second.detach(), before));
  EXPECT_NE(parameters[0].second[0][0].item<float>(), -1.0f);
}

TEST(AdamW, GoesOnFromItsState) {
  const NamedTensors straight = small_parameters(), resumed = small_parameters();
  AdamW one({}, straight);
  AdamW first({}, resumed);
  for (int k = 0; k < 5; ++k) one.step(0.01, 1);
  for (int k = 0; k < 2; ++k) first.step(0.01, 1);
  NamedTensors state;
  for (const auto& [name, tensor] : first.state()) state.emplace_back(name, tensor.clone());
  EXPECT_EQ(state[0].first, "exp_avg.w");
  EXPECT_EQ(state[1].first, "exp_avg_sq.w");
  AdamW second({}, resumed);
  second.load_state(state, first.applied_steps());
  for (int k = 0; k < 3; ++k) second.step(0.01, 1);
  EXPECT_TRUE(at::equal(straight[0].second.detach(), resumed[0].second.detach()));
  EXPECT_EQ(second.applied_steps(), 5);
}

TEST(AdamW, ListsWhatDoesNotFit) {
  AdamW optimizer({}, small_parameters());
  NamedTensors state = optimizer.state();
  state[0].second = at::zeros({2});
  state[1].first = "exp_avg_sq.other";
  try {
    optimizer.load_state(state, 3);
    FAIL() << "accepted a state that does not fit";
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(),
                 "optimizer state does not fit; exp_avg.w is [2], not [3, 4]; missing "
                 "exp_avg_sq.w; unexpected exp_avg_sq.other");
  }
  EXPECT_EQ(optimizer.applied_steps(), 0);
}

TEST(AdamW, RefusesBadOptions) {
  OptimizerOptions options;
  options.beta2 = 1;
  EXPECT_THROW(AdamW(options, {}), UsageError);
  options = {};
  options.kind = "sgd";
  EXPECT_THROW(AdamW(options, {}), UsageError);
}

/// Names and dimensions of ViT-B-32's parameters.
[[nodiscard]] std::vector<std::pair<std::string, int>> vit_b_32() {
  std::vector<std::pair<std::string, int>> names = {{"positional_embedding", 2},
                                                    {"text_projection", 2},
                                                    {"logit_scale", 0},
                                                    {"visual.class_embedding", 1},
                                                    {"visual.positional_embedding", 2},
                                                    {"visual.proj", 2},
                                                    {"visual.conv1.weight", 4},
                                                    {"token_embedding.weight", 2}};
  const auto pair = [&names](const std::string& name, int ndim) {
    names.emplace_back(name + (name.ends_with("in_proj") ? "_weight" : ".weight"), ndim);
    names.emplace_back(name + (name.ends_with("in_proj") ? "_bias" : ".bias"), 1);
  };
  for (const char* name : {"visual.ln_pre", "visual.ln_post", "ln_final"}) pair(name, 1);
  for (const std::string tower : {"visual.", ""}) {
    for (int i = 0; i < 12; ++i) {
      const std::string block = str(tower, "transformer.resblocks.", i, ".");
      for (const char* name : {"ln_1", "ln_2"}) pair(block + name, 1);
      for (const char* name : {"attn.in_proj", "attn.out_proj", "mlp.c_fc", "mlp.c_proj"}) {
        pair(block + name, 2);
      }
    }
  }
  return names;
}

[[nodiscard]] int count_decayed(const std::string& rule) {
  int decayed = 0;
  for (const auto& [name, ndim] : vit_b_32()) decayed += is_decayed(rule, name, ndim) ? 1 : 0;
  return decayed;
}

TEST(DecayGroups, AreOpenClipsForVitB32) {
  ASSERT_EQ(vit_b_32().size(), 302u);
  EXPECT_EQ(count_decayed("openclip3"), 102);
  EXPECT_EQ(count_decayed("openclip4"), 100);  // less two positional embeddings
  EXPECT_TRUE(is_decayed("openclip3", "visual.positional_embedding", 2));
  EXPECT_FALSE(is_decayed("openclip3", "visual.layer1.0.bn1.weight", 1));
  EXPECT_FALSE(is_decayed("openclip3", "logit_scale", 0));
  EXPECT_THROW((void)is_decayed("openclip5", "w", 2), UsageError);
}

TEST(GradientNorm, SumsInDoubleOverAllParameters) {
  const NamedTensors parameters = small_parameters();
  const double want =
      std::sqrt(parameters[0].second.grad().to(at::kDouble).square().sum().item<double>());
  EXPECT_NEAR(gradient_norm(parameters), want, 1e-14);
  EXPECT_EQ(gradient_norm({{"b", parameters[1].second}}), 0);
}

TEST(ClipFactor, IsTorchs) {
  EXPECT_EQ(clip_factor(0.5, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(clip_factor(4.0, 1.0), 1.0 / 4.000001);
  EXPECT_EQ(clip_factor(0, 1.0), 1.0);
}

TEST(LearningRate, Cosine) {
  ScheduleOptions s;
  s.warmup_steps = 10;
  EXPECT_DOUBLE_EQ(learning_rate(s, 1e-3, 0, 110), 1e-4);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1e-3, 9, 110), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1e-3, 10, 110), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1e-3, 60, 110), 5e-4);
  const double last = 0.5 * (1 + std::cos(M_PI * 99 / 100)) * 1e-3;
  EXPECT_DOUBLE_EQ(learning_rate(s, 1e-3, 109, 110), last);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1e-3, 5000, 110), last) << "must not rise again";
  s.min_lr = 2e-4;
  EXPECT_DOUBLE_EQ(learning_rate(s, 1e-3, 60, 110), 6e-4);
  EXPECT_GE(learning_rate(s, 1e-3, 109, 110), 2e-4);
}

TEST(WeightAverage, FollowsTrainedTensorsAndCopiesTheRest) {
  at::Tensor weight = at::full({3}, 1.0f), locked = at::full({2}, 5.0f), count = at::tensor(7);
  const NamedTensors model = {{"w", weight}, {"locked", locked}, {"n", count}};
  WeightAverage average(model, {"w"}, 0.75);
  weight.fill_(3.0f);
  count.fill_(8);
  average.update();  // 1 + 0.25 (3 - 1)
  weight.fill_(5.0f);
  average.update();  // 1.5 + 0.25 (5 - 1.5)
  EXPECT_TRUE(at::equal(average.tensors()[0].second, at::full({3}, 2.375f)));
  EXPECT_TRUE(at::equal(average.tensors()[1].second, locked));
  EXPECT_EQ(average.tensors()[2].second.item<std::int64_t>(), 8);

  WeightAverage restored(model, {"w"}, 0.75);
  restored.load(average.tensors());
  EXPECT_TRUE(at::equal(restored.tensors()[0].second, at::full({3}, 2.375f)));
  average.swap();
  EXPECT_TRUE(at::equal(weight, at::full({3}, 2.375f)));
  EXPECT_TRUE(at::equal(average.tensors()[0].second, at::full({3}, 5.0f)));
  average.swap();
  EXPECT_TRUE(at::equal(weight, at::full({3}, 5.0f)));
  EXPECT_THROW(average.load({{"w", weight}}), UsageError);
}

TEST(LearningRate, ConstantAndCooldown) {
  ScheduleOptions s;
  s.kind = "constant";
  s.warmup_steps = 4;
  EXPECT_DOUBLE_EQ(learning_rate(s, 1, 1, 100), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1, 99, 100), 1);
  s.kind = "constant_cooldown";
  s.cooldown_steps = 20;
  EXPECT_DOUBLE_EQ(learning_rate(s, 1, 79, 100), 1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1, 80, 100), 1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1, 90, 100), 0.5);
  EXPECT_NEAR(learning_rate(s, 1, 1000, 100), 0.05, 1e-15);
  s.cooldown_power = 2;
  s.cooldown_end_lr = 0.2;
  EXPECT_DOUBLE_EQ(learning_rate(s, 1, 90, 100), 0.25 * 0.8 + 0.2);
}

TEST(LearningRate, WarmupLongerThanTheRunAndUnknownKinds) {
  ScheduleOptions s;
  s.warmup_steps = 50;
  EXPECT_DOUBLE_EQ(learning_rate(s, 1, 100, 10), 10.0 / 50);
  s.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(learning_rate(s, 1, 0, 10), 1);
  s.kind = "linear";
  EXPECT_THROW((void)learning_rate(s, 1, 0, 10), UsageError);
}

}  // namespace
}  // namespace plumbline
