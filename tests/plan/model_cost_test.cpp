// Costs of towers against counts made elsewhere.
#include "plan/model_cost.h"

#include <gtest/gtest.h>

namespace plumbline {
namespace {

ModelShape vit_b_32() {
  ModelShape model;
  model.image = VitShape{.patch = 32};
  model.text = TextShape{};
  model.image_parameters = 87849216;
  model.text_parameters = 63428096;
  model.other_parameters = 1;
  return model;
}

/// GFLOP a forward pass by OpenCLIP's docs/model_profile.csv: ViT-B-32 8.82 + 5.96, ViT-L-14 162.03
/// + 13.3, RN50 12.22 + 5.96, ViT-B-16-SigLIP 35.42 + 11.02.
TEST(ModelCost, StandardFlopsAreThoseOfOpenClipsProfile) {
  ModelShape model = vit_b_32();
  const auto image = [&] { return image_cost(model, Activations::fp32).standard_flops / 1e9; };
  const auto text = [&] { return text_cost(model, Activations::fp32, 77).standard_flops / 1e9; };
  EXPECT_NEAR(image(), 8.82, 0.005);
  EXPECT_NEAR(text(), 5.96, 0.005);
  model.image = VitShape{.patch = 14, .layers = 24, .width = 1024, .mlp = 4096, .embed_dim = 768};
  model.text = TextShape{.width = 768, .mlp = 3072, .embed_dim = 768};
  EXPECT_NEAR(image(), 162.03, 0.05);
  EXPECT_NEAR(text(), 13.30, 0.01);
  model.image = ResnetShape{};
  EXPECT_NEAR(image(), 12.22, 0.12);
  model.image = VitShape{.patch = 16, .embed_dim = 768, .attention_pool = true};
  EXPECT_NEAR(image(), 35.42, 0.2);
}

TEST(ModelCost, CutsLessenWhatIsExecutedAndNothingElse) {
  ModelShape model = vit_b_32();
  const TowerCost padded = text_cost(model, Activations::fp32, 77);
  const TowerCost packed = text_cost(model, Activations::fp32, 20);
  EXPECT_EQ(packed.standard_flops, padded.standard_flops);
  EXPECT_LT(packed.executed_flops, 0.4 * padded.executed_flops);
  EXPECT_LT(packed.saved_bytes, 0.6 * padded.saved_bytes);
  const TowerCost pruned = image_cost(model, Activations::fp32);
  std::get<VitShape>(model.image).prune = false;
  const TowerCost whole = image_cost(model, Activations::fp32);
  EXPECT_EQ(whole.executed_flops, whole.standard_flops);
  // 20 of the last block's 24 d^2 a token: 6.9 % of twelve blocks.
  EXPECT_NEAR(1 - pruned.executed_flops / whole.executed_flops, 0.069, 0.005);
  model.text->pack = model.text->prune = false;
  EXPECT_EQ(text_cost(model, Activations::fp32, 20).executed_flops, padded.standard_flops);
}

TEST(ModelCost, ALockedTowerKeepsNothingForBackward) {
  ModelShape model = vit_b_32();
  model.image_trained = false;
  EXPECT_EQ(image_cost(model, Activations::fp32).saved_bytes, 0);
  EXPECT_GT(text_cost(model, Activations::fp32, 20).saved_bytes, 0);
  EXPECT_EQ(model.trained_parameters(), model.text_parameters + 1);
}

TEST(ModelCost, HalfPrecisionKeepsFloatResiduals) {
  const ModelShape model = vit_b_32();
  const double full = image_cost(model, Activations::fp32).saved_bytes;
  const double half = image_cost(model, Activations::bf16_autocast).saved_bytes;
  EXPECT_GT(half, 0.5 * full);
  EXPECT_LT(half, 0.65 * full);
}

TEST(ModelCost, AClassifierHasAHeadForATextTower) {
  ModelShape model = vit_b_32();
  const double before = image_cost(model, Activations::fp32).standard_flops;
  model.text.reset();
  model.classes = 1000;
  EXPECT_EQ(image_cost(model, Activations::fp32).standard_flops - before, 2.0 * 512 * 1000);
  EXPECT_EQ(text_cost(model, Activations::fp32, 20).standard_flops, 0);
}

}  // namespace
}  // namespace plumbline
