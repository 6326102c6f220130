// Features, gradients and names against those of OpenCLIP (tests/golden/make_model_golden.py).
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <map>
#include <sstream>

#include "plumbline/model.h"
#include "tests/model/fill.h"

namespace plumbline {
namespace {

struct Golden {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> metadata;
  ModelOptions options;
};

Golden read_golden(const std::string& name) {
  const TensorFile file = read_safetensors("tests/golden/model_" + name + ".safetensors");
  Golden golden{
      {file.tensors.begin(), file.tensors.end()}, {file.metadata.begin(), file.metadata.end()}, {}};
  golden.options = read_model(write_temporary(name + ".json", golden.metadata.at("config")));
  if (name == "siglip") {
    // A trunk smaller than every one that has a name.
    golden.options.vision.siglip_trunk = "small";
    golden.options.vision.mlp_ratio = 3.7362;
    golden.options.vision.norm_eps = 1e-6;
  }
  return golden;
}

at::Tensor pixels_of(const Golden& golden) {
  const VisionOptions& v = golden.options.vision;
  return 2 * signed_values("pixels", {4, 3, v.image_height, v.image_width});
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

void set_cuts(ClipModel& model, bool on) {
  model.pass.pack_text = on;
  model.pass.prune_last_block = on;
}

class ModelGolden : public testing::TestWithParam<const char*> {
 protected:
  Golden golden_ = read_golden(GetParam());
  std::shared_ptr<ClipModel> model_ = make_model(golden_.options, 1);
};

TEST_P(ModelGolden, NamesInOrder) {
  std::istringstream names(golden_.metadata.at("names"));
  std::string name;
  for (const auto& [ours, tensor] : model_->state_dict()) {
    ASSERT_TRUE(std::getline(names, name)) << "more tensors than OpenCLIP, from " << ours;
    EXPECT_EQ(ours, name);
  }
  EXPECT_FALSE(std::getline(names, name)) << "OpenCLIP has also " << name;
}

TEST_P(ModelGolden, EvalFeaturesInFloat64) {
  model_->to(torch::kDouble);
  fill(*model_);
  model_->eval();
  for (const bool cuts : {false, true}) {
    set_cuts(*model_, cuts);
    const at::Tensor image = model_->encode_image(pixels_of(golden_), false);
    const at::Tensor text = model_->encode_text(golden_.tensors.at("tokens"), false);
    EXPECT_LT(largest_difference(image, golden_.tensors.at("eval.image")), 1e-12) << cuts;
    EXPECT_LT(largest_difference(text, golden_.tensors.at("eval.text")), 1e-12) << cuts;
  }
}

TEST_P(ModelGolden, EvalFeaturesInFloat32) {
  fill(*model_);
  model_->eval();
  const at::Tensor tokens = golden_.tensors.at("tokens").to(at::kInt);
  const auto unit = [](const at::Tensor& x) { return x / x.norm(2, {-1}, true); };
  const at::Tensor image = model_->encode_image(pixels_of(golden_).to(at::kFloat), true);
  const at::Tensor text = model_->encode_text(tokens, true);
  EXPECT_EQ(image.scalar_type(), at::kFloat);
  EXPECT_LT(largest_difference(image, unit(golden_.tensors.at("eval.image"))), 2e-6);
  EXPECT_LT(largest_difference(text, unit(golden_.tensors.at("eval.text"))), 2e-6);
}

/// Gradient L2 against the golden norm, and its product with a filled direction.
void expect_gradients(const Golden& golden, const ClipModel& model, bool cuts) {
  std::size_t compared = 0;
  for (const auto& [name, parameter] : model.named_parameters_in_order()) {
    const auto found = golden.tensors.find("gradient." + name);
    if (found == golden.tensors.end()) {
      EXPECT_FALSE(parameter.grad().defined()) << name;
      continue;
    }
    ASSERT_TRUE(parameter.grad().defined()) << name;
    const at::Tensor direction = signed_values("gradient." + name, parameter.sizes());
    const auto want = found->second;
    const auto norm = want[0].item<double>();
    const double scale = norm + 1e-3;
    EXPECT_NEAR(parameter.grad().norm().item<double>(), norm, 1e-10 * scale) << name << cuts;
    EXPECT_NEAR((parameter.grad() * direction).sum().item<double>(), want[1].item<double>(),
                1e-10 * scale * std::sqrt(static_cast<double>(parameter.numel())))
        << name << " cuts " << cuts;
    ++compared;
  }
  EXPECT_GT(compared, 40U);
}

TEST_P(ModelGolden, TrainFeaturesAndGradients) {
  for (const bool cuts : {false, true}) {
    model_ = make_model(golden_.options, 1);
    model_->to(torch::kDouble);
    fill(*model_);
    model_->train();
    set_cuts(*model_, cuts);
    const at::Tensor image = model_->encode_image(pixels_of(golden_), true);
    const at::Tensor text = model_->encode_text(golden_.tensors.at("tokens"), true);
    EXPECT_LT(largest_difference(image, golden_.tensors.at("train.image")), 1e-12) << cuts;
    EXPECT_LT(largest_difference(text, golden_.tensors.at("train.text")), 1e-12) << cuts;
    ((image * signed_values("direction.image", image.sizes())).sum() +
     (text * signed_values("direction.text", text.sizes())).sum())
        .backward();
    expect_gradients(golden_, *model_, cuts);
    for (const auto& [name, tensor] : model_->state_dict()) {
      const auto buffer = golden_.tensors.find("buffer." + name);
      if (buffer == golden_.tensors.end()) continue;
      EXPECT_LT(largest_difference(tensor, buffer->second), 1e-12) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OpenClip, ModelGolden,
                         testing::Values("vit", "vit_quick_scale", "vit_average_custom",
                                         "vit_average_none", "rn", "siglip"),
                         [](const auto& test) { return std::string(test.param); });

TEST(BatchNorm, SecondForwardOfAccumulationLeavesRunningValues) {
  const Golden golden = read_golden("rn");
  const auto model = make_model(golden.options, 1);
  model->train();
  model->pass.update_running_stats = false;
  const at::Tensor pixels = pixels_of(golden).to(at::kFloat);
  NamedTensors before;
  for (const auto& [name, tensor] : model->state_dict()) before.emplace_back(name, tensor.clone());
  const at::Tensor first = model->encode_image(pixels, true);
  const NamedTensors after = model->state_dict();
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(before[i].second.equal(after[i].second)) << before[i].first;
  }
  model->pass.update_running_stats = true;
  EXPECT_TRUE(model->encode_image(pixels, true).equal(first));
  for (const auto& [name, tensor] : model->state_dict()) {
    if (name.ends_with("num_batches_tracked")) {
      EXPECT_EQ(tensor.item<std::int64_t>(), 1) << name;
    }
  }
}

TEST(PatchDropout, IsAFunctionOfSeedAndPosition) {
  Golden golden = read_golden("vit");
  golden.options.vision.patch_dropout = 0.5;
  const auto model = make_model(golden.options, 1);
  const at::Tensor pixels = pixels_of(golden).to(at::kFloat);
  EXPECT_THROW((void)model->encode_image(pixels, true), std::exception);
  model->pass.dropout_seed = 5;
  model->pass.dropout_positions = {10, 11, 12, 13};
  const at::Tensor all = model->encode_image(pixels, true).detach();
  model->pass.dropout_positions = {12, 13};
  EXPECT_LT(largest_difference(model->encode_image(pixels.narrow(0, 2, 2), true).detach(),
                               all.narrow(0, 2, 2)),
            1e-6);
  model->pass.dropout_positions = {14, 15};
  EXPECT_GT(largest_difference(model->encode_image(pixels.narrow(0, 2, 2), true).detach(),
                               all.narrow(0, 2, 2)),
            1e-3);
  model->eval();
  EXPECT_GT(largest_difference(model->encode_image(pixels, true).detach(), all), 1e-3);
}

}  // namespace
}  // namespace plumbline
