#include "train/merge.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstring>

#include "plumbline/error.h"

namespace plumbline {
namespace {

// Two batch-normalised layers' worth of tensors: parameters, running values, a counter, the scale.
NamedTensors make_model(std::int64_t seed) {
  torch::manual_seed(static_cast<std::uint64_t>(seed));
  return {{"visual.weight", torch::randn({3, 5})},
          {"visual.bn.running_var", torch::rand({5})},
          {"visual.bn.num_batches_tracked", torch::tensor(100 + seed, torch::kLong)},
          {"logit_scale", torch::tensor(0.1 * static_cast<double>(seed), torch::kFloat)}};
}

bool bitwise_equal(const NamedTensors& a, const NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const at::Tensor& x = a[i].second;
    const at::Tensor& y = b[i].second;
    if (a[i].first != b[i].first || x.sizes() != y.sizes() || x.dtype() != y.dtype()) return false;
    if (std::memcmp(x.contiguous().data_ptr(), y.contiguous().data_ptr(), x.nbytes()) != 0) {
      return false;
    }
  }
  return true;
}

const at::Tensor& at(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return tensor;
  }
  throw std::out_of_range(name);
}

TEST(Interpolate, EndsAreBitwiseTheModels) {
  NamedTensors a = make_model(1), b = make_model(2);
  // Sums would lose these: -0 becomes 0, and 0 times infinity is no number.
  a[0].second[0][0] = -0.0F;
  b[0].second[0][0] = -0.0F;
  a[0].second[1][1] = HUGE_VALF;
  b[0].second[2][2] = HUGE_VALF;
  EXPECT_TRUE(bitwise_equal(interpolate(a, b, 0), a));
  EXPECT_TRUE(bitwise_equal(interpolate(a, b, 1), b));
  EXPECT_FALSE(bitwise_equal(interpolate(a, b, 0.5), a));
}

TEST(Interpolate, EveryFloatingTensorIsMixedIntegersComeFromTheSecond) {
  const NamedTensors a = make_model(1);
  NamedTensors b = make_model(2);
  std::swap(b[0], b[3]);  // matched by name, not by place
  for (const double alpha : {0.1, 0.5, 0.9}) {
    const NamedTensors merged = interpolate(a, b, alpha);
    ASSERT_EQ(merged.size(), a.size());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(merged[i].first, a[i].first);
    for (const char* name : {"visual.weight", "visual.bn.running_var", "logit_scale"}) {
      const at::Tensor expected =
          (1 - alpha) * at(a, name).to(torch::kDouble) + alpha * at(b, name).to(torch::kDouble);
      EXPECT_EQ(at(merged, name).dtype(), torch::kFloat);
      EXPECT_TRUE(torch::allclose(at(merged, name).to(torch::kDouble), expected, 1e-6, 1e-7))
          << name << " " << alpha;
    }
    EXPECT_EQ(at(merged, "visual.bn.num_batches_tracked").item<std::int64_t>(), 102);
  }
}

TEST(Interpolate, MergedTensorsShareNoMemoryWithTheEnds) {
  const NamedTensors a = make_model(1), b = make_model(2);
  const NamedTensors start = interpolate(a, b, 0);
  at(start, "visual.weight").fill_(7);
  EXPECT_NE(at(a, "visual.weight")[0][0].item<float>(), 7);
}

TEST(Uniform, MeanInFloat64) {
  RunningMean mean;
  // float32 sums would give 0: 1e8 swallows 1.
  const auto with = [](float value) {
    return NamedTensors{{"w", torch::full({2}, value)},
                        {"n", torch::tensor(static_cast<std::int64_t>(value), torch::kLong)}};
  };
  for (const float value : {1e8F, 1.0F, -1e8F, 3.0F}) mean.add(with(value));
  EXPECT_EQ(mean.size(), 4);
  EXPECT_EQ(at(mean.mean(), "w")[1].item<float>(), 1.0F);
  EXPECT_EQ(at(mean.mean(), "n").item<std::int64_t>(), 3);
  EXPECT_EQ(at(mean.mean_with(with(6.0F)), "w")[0].item<float>(), 2.0F);
  EXPECT_EQ(at(mean.mean(), "w")[0].item<float>(), 1.0F) << "mean_with must not keep its argument";
  RunningMean one;
  one.add(make_model(3));
  EXPECT_TRUE(bitwise_equal(one.mean(), make_model(3)));
  EXPECT_THROW((void)RunningMean().mean(), InternalError);
}

/// A model is one number; the soup's held-out accuracy is whatever the table says of the mean.
struct Kitchen {
  std::vector<double> models;
  std::function<double(double)> accuracy;
  int looks = 0;

  GreedySoup cook() {
    return greedy_soup(
        models.size(),
        [&](std::size_t i) {
          return NamedTensors{{"w", torch::tensor(models[i])}};
        },
        [&](const NamedTensors& model) {
          ++looks;
          return accuracy(model[0].second.item<double>());
        });
  }
};

std::vector<std::size_t> order_of(const GreedySoup& soup) {
  std::vector<std::size_t> order;
  for (const SoupStep& step : soup.steps) order.push_back(step.model);
  return order;
}

TEST(Greedy, KeepsWhatStrictlyHelps) {
  // Best at 0: 1 (0.9) and -1 (0.9) cancel, 4 drags away.
  Kitchen kitchen{{4, 1, -1}, [](double w) { return 1 - std::abs(w) / 10; }};
  const GreedySoup soup = kitchen.cook();
  EXPECT_EQ(soup.held_out, (std::vector<double>{0.6, 0.9, 0.9}));
  EXPECT_EQ(order_of(soup), (std::vector<std::size_t>{2, 1, 0}));  // a tie: the later first
  EXPECT_TRUE(soup.steps[1].kept);
  EXPECT_FALSE(soup.steps[2].kept);
  EXPECT_NEAR(soup.steps[2].held_out, 1 - (4.0 / 3) / 10, 1e-6);
  EXPECT_EQ(soup.model[0].second.item<double>(), 0);
  EXPECT_EQ(soup.accuracy, 1);
  EXPECT_EQ(kitchen.looks, 2 * 3 - 1);
}

TEST(Greedy, EqualIsNotEnough) {
  Kitchen kitchen{{1, 2, 3, 4}, [](double) { return 0.5; }};
  const GreedySoup soup = kitchen.cook();
  EXPECT_EQ(order_of(soup), (std::vector<std::size_t>{3, 2, 1, 0}));
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(soup.steps[i].kept, i == 0);
  EXPECT_EQ(soup.model[0].second.item<double>(), 4);
}

TEST(Greedy, ARefusedModelLeavesNoTraceInTheNextCandidate) {
  // 10 is refused after 0; then 2 must be tried with 0 alone.
  Kitchen kitchen{{0, 10, 2}, [](double w) {
                    const double table[] = {0.8, 0.9, 0.5, 0.0, 0.0, 0.3};
                    return w == 10 ? 0.7 : table[static_cast<int>(w)];
                  }};
  const GreedySoup soup = kitchen.cook();
  EXPECT_EQ(order_of(soup), (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_FALSE(soup.steps[1].kept);
  EXPECT_EQ(soup.steps[1].held_out, 0.3);
  EXPECT_TRUE(soup.steps[2].kept);
  EXPECT_EQ(soup.model[0].second.item<double>(), 1);
  EXPECT_EQ(soup.accuracy, 0.9);
}

Checkpoint with_model(NamedTensors model, const std::string& vision = "") {
  Checkpoint c;
  c.model = std::move(model);
  c.model_json =
      str(R"({"embed_dim": 32, "vision_cfg": {"image_size": 32, "patch_size": 8, )",
          R"("width": 64, "layers": 2)", vision.empty() ? R"(, "head_width": 32)" : vision,
          R"(}, "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, )",
          R"("heads": 2, "layers": 2}})");
  return c;
}

std::string refusal(const Checkpoint& a, const Checkpoint& b) {
  try {
    check_mergeable(a, "A", b, "B");
  } catch (const UsageError& e) {
    return e.what();
  }
  return "accepted";
}

TEST(Mergeable, ListsEveryDifference) {
  const Checkpoint a = with_model(make_model(1));
  EXPECT_EQ(refusal(a, with_model(make_model(2))), "accepted");
  NamedTensors other = make_model(2);
  other[0].second = torch::zeros({5, 3});
  other[1].first = "visual.bn.extra";
  other[3].second = other[3].second.to(torch::kDouble);
  const std::string text = refusal(a, with_model(other));
  for (const char* part : {"'visual.weight' is [3, 5]", "[5, 3]", "'visual.bn.extra' is only in B",
                           "'visual.bn.running_var' is only in A", "'logit_scale' is"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
}

TEST(Mergeable, EqualShapesOfModelsThatComputeDifferently) {
  const Checkpoint a = with_model(make_model(1));
  EXPECT_EQ(refusal(a, with_model(make_model(2), R"(, "head_width": 32, "patch_dropout": 0.5)")),
            "accepted");
  const std::string heads = refusal(a, with_model(make_model(2), R"(, "head_width": 16)"));
  EXPECT_NE(heads.find("head_width"), std::string::npos) << heads;
}

TEST(Alphas, ANumberOrARange) {
  using Alphas = std::vector<double>;
  EXPECT_EQ(parse_alphas("0.5"), Alphas{0.5});
  EXPECT_EQ(parse_alphas("1"), Alphas{1});
  EXPECT_EQ(parse_alphas("0:1:0.1"), (Alphas{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}));
  EXPECT_EQ(parse_alphas("0.25:0.75:0.25"), (Alphas{0.25, 0.5, 0.75}));
  EXPECT_EQ(parse_alphas("0.3:0.3:0.1"), Alphas{0.3});
  for (const char* wrong : {"", "x", "-0.1", "1.1", "nan", "0:1", "0:1:0", "0:1:0.3", "1:0:0.1",
                            "0:2:0.5", "0:1:0.1:2", "0.5 ", "0.5:"}) {
    EXPECT_THROW((void)parse_alphas(wrong), UsageError) << wrong;
  }
}

TEST(Alphas, FolderNamesTellThemApart) {
  EXPECT_EQ(alpha_name(0), "alpha-0.00");
  EXPECT_EQ(alpha_name(0.1), "alpha-0.10");
  EXPECT_EQ(alpha_name(1), "alpha-1.00");
  EXPECT_EQ(alpha_name(0.125), "alpha-0.125");
  EXPECT_EQ(alpha_name(0.000001), "alpha-0.000001");
}

}  // namespace
}  // namespace plumbline
