// A classifier: an image tower and a linear head.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>

#include "plumbline/error.h"
#include "plumbline/model.h"

namespace plumbline {
namespace {

ModelOptions classifier() {
  ModelOptions options = read_model("tiny-vit");
  set_class_names(options, {"cat", "dog", "say \"hen\""});
  return options;
}

TEST(Classifier, HasAHeadInThePlaceOfTheTextTower) {
  const auto model = make_model(classifier(), 1);
  EXPECT_TRUE(model->is_classifier());
  const NamedTensors state = model->state_dict();
  EXPECT_TRUE(std::none_of(state.begin(), state.end(), [](const auto& item) {
    return item.first == "token_embedding.weight" || item.first.starts_with("transformer.");
  }));
  ASSERT_GT(state.size(), 2U);
  EXPECT_EQ(state[state.size() - 2].first, "head.weight");
  EXPECT_EQ(state[state.size() - 2].second.sizes(), (std::vector<std::int64_t>{3, 32}));
  EXPECT_EQ(state.back().first, "head.bias");
  EXPECT_THROW((void)model->encode_text(at::zeros({1, 16}, at::kInt), true), UsageError);
  EXPECT_FALSE(can_pack_text(model->options()));
  EXPECT_LT(forward_flops(model->options()), forward_flops(read_model("tiny-vit")));
}

TEST(Classifier, LogitsByDefinition) {
  const auto model = make_model(classifier(), 1);
  const NamedTensors state = model->state_dict();
  state.back().second.copy_(torch::tensor({0.5, -1.0, 2.0}));
  const at::Tensor image_BD =
      torch::nn::functional::normalize(torch::sin(torch::arange(64, torch::kFloat)).view({2, 32}));
  const at::Tensor expected =
      model->logit_scale().exp() * image_BD.matmul(state[state.size() - 2].second.t()) +
      state.back().second;
  EXPECT_TRUE(torch::allclose(model->class_logits(image_BD), expected, 1e-6, 1e-6));
  EXPECT_THROW((void)make_model(read_model("tiny-vit"), 1)->class_logits(image_BD), UsageError);
}

TEST(Classifier, TheImageTowerStartsAsThatOfThePairModel) {
  const auto one = make_model(classifier(), 7);
  const auto other = make_model(read_model("tiny-vit"), 7);
  for (const auto& [name, tensor] : one->state_dict()) {
    if (!name.starts_with("visual.")) continue;
    const NamedTensors all = other->state_dict();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const auto& item) { return item.first == name; });
    ASSERT_NE(found, all.end()) << name;
    EXPECT_TRUE(found->second.equal(tensor)) << name;
  }
}

TEST(Classifier, ItsConfigurationHoldsTheClasses) {
  const ModelOptions first = classifier();
  const ModelOptions second = parse_model(first.source_json, "kept");
  EXPECT_EQ(second.class_names, first.class_names);
  EXPECT_EQ(second.source_json, first.source_json);
  ModelOptions options = read_model("tiny-vit");
  EXPECT_THROW(set_class_names(options, {"one"}), UsageError);
  EXPECT_THROW(set_class_names(options, {"one", "two", "one"}), UsageError);
  const ModelOptions without_text = parse_model(
      R"({"embed_dim": 8, "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64,
          "layers": 1}, "class_names": ["a", "b"]})",
      "inline");
  EXPECT_EQ(make_model(without_text, 0)->options().class_names.size(), 2U);
}

}  // namespace
}  // namespace plumbline
