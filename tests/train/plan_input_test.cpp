// Plans of the bundled models against OpenCLIP's own profile of them, and against the program.
#include "train/plan_input.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace plumbline {
namespace {

RunConfig config_of(const std::string& model) {
  RunConfig config;
  config.resolved_model = read_model(model, PLUMBLINE_SOURCE_DIR "/configs/model");
  config.train.steps = 10;
  return config;
}

TowerCost image_of(const ModelShape& shape) { return image_cost(shape, Activations::fp32); }
TowerCost text_of(const ModelShape& shape) { return text_cost(shape, Activations::fp32, 20); }

/// tests/golden/open_clip_model_profile.csv: the rows of docs/model_profile.csv in
/// mlfoundations/open_clip at 3b37473 whose models stand in configs/model; counted there by
/// parameters and by fvcore. Two digits behind the point.
TEST(PlanInput, ParametersAndFlopsOfEveryModelAreOpenClips) {
  std::ifstream in(PLUMBLINE_SOURCE_DIR "/tests/golden/open_clip_model_profile.csv");
  std::string line;
  std::getline(in, line);
  int models = 0;
  while (std::getline(in, line)) {
    for (char& c : line) c = c == ',' ? ' ' : c;
    std::istringstream fields(line);
    std::string name;
    double all = 0, image = 0, text = 0, image_gflops = 0, text_gflops = 0;
    fields >> name >> all >> image >> text >> image_gflops >> text_gflops;
    SCOPED_TRACE(name);
    const ModelShape shape = model_shape(config_of(name));
    EXPECT_NEAR(shape.parameters() / 1e6, all, 0.0051);
    EXPECT_NEAR(shape.image_parameters / 1e6, image, 0.0051);
    EXPECT_NEAR(shape.text_parameters / 1e6, text, 0.0051);
    // fvcore leaves out part of what we count in convolutions' pooling and in MAP heads, or counts
    // it twice; never more than one part in a hundred.
    EXPECT_NEAR(image_of(shape).standard_flops / 1e9 / image_gflops, 1, 0.01);
    EXPECT_NEAR(text_of(shape).standard_flops / 1e9 / text_gflops, 1, 0.01);
    ++models;
  }
  EXPECT_EQ(models, 44);
}

TEST(PlanInput, FlopsAreThoseThatMfuIsMeasuredIn) {
  int models = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(PLUMBLINE_SOURCE_DIR "/configs/model")) {
    SCOPED_TRACE(entry.path());
    const RunConfig config = config_of(entry.path().string());
    const ModelShape shape = model_shape(config);
    const double flops = image_of(shape).standard_flops + text_of(shape).standard_flops;
    EXPECT_NEAR(flops / forward_flops(config.resolved_model), 1, 1e-12);
    ++models;
  }
  EXPECT_GT(models, 50);
}

TEST(PlanInput, ParametersAreThoseOfTheModelThatIsBuilt) {
  for (const char* name : {"tiny-vit", "tiny-rn", "pictures-rn24", "ViT-S-32-alt"}) {
    RunConfig config = config_of(name);
    const auto model = make_model(config.resolved_model, 0);
    double built = 0;
    for (const auto& [tensor, parameter] : model->named_parameters_in_order()) {
      built += static_cast<double>(parameter.numel());
    }
    EXPECT_EQ(model_shape(config).parameters(), built) << name;
    EXPECT_EQ(model_shape(config).trained_parameters(), built) << name;
    config.model.lock_image = true;
    EXPECT_EQ(model_shape(config).trained_parameters(),
              built - model_shape(config).image_parameters);
  }
}

TEST(PlanInput, AClassifierHasNoTextTower) {
  RunConfig config = config_of("tiny-vit");
  set_class_names(config.resolved_model, {"cat", "dog", "bird"});
  const ModelShape shape = model_shape(config);
  EXPECT_FALSE(shape.text);
  EXPECT_EQ(shape.text_parameters, 0);
  EXPECT_EQ(shape.classes, 3);
  EXPECT_EQ(shape.other_parameters, 32 * 3 + 3 + 1);  // the head and the scale
}

TEST(PlanInput, TheRunFileSaysWhatIsAssumed) {
  RunConfig config = config_of("tiny-vit");
  config.train.global_batch = 64;
  config.train.steps = 0;
  config.train.epochs = 2;
  config.plan.of_roofline = 0.5;
  config.plan.network_gb_per_s = 12;
  config.plan.gpu_hour_price = 2;
  config.optimizer.zero1 = true;
  const PlanInput in = plan_input(config, 16, find_gpu("a100", false), 640);
  EXPECT_EQ(in.steps, 20);
  EXPECT_EQ(in.device.of_roofline, 0.5);
  EXPECT_EQ(in.device.network_bytes_per_s, 12e9);
  EXPECT_EQ(in.price, 2);
  EXPECT_TRUE(in.zero1);
  EXPECT_FALSE(plan_input(config, 1, find_gpu("a100", false), 640).zero1);
}

}  // namespace
}  // namespace plumbline
