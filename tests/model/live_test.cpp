// Against OpenCLIP itself, run by .venv/bin/python; skipped where that is absent.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "plumbline/error.h"
#include "plumbline/model.h"
#include "tests/model/fill.h"

namespace plumbline {
namespace {

constexpr const char* kPython = ".venv/bin/python";

/// The script's exit status; its output goes to the test's.
int compare(const std::string& kind, const std::string& path) {
  return std::system(
      (std::string(kPython) + " tests/model/compare_open_clip.py " + kind + " '" + path + "'")
          .c_str());
}

class LiveModel : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kPython)) {
      GTEST_SKIP() << "no " << kPython << ": launch/setup.sh makes it";
    }
  }
};

TensorFile weights_file(const ClipModel& model) {
  TensorFile file;
  std::string names;
  for (const auto& [name, tensor] : model.state_dict()) {
    file.tensors.emplace_back("state." + name, tensor);
    names += (names.empty() ? "" : "\n") + name;
  }
  file.metadata = {{"config", model.options().source_json}, {"names", names}};
  return file;
}

/// SOT, ids, EOT, zeros, each row of another length.
at::Tensor sample_tokens(const TextOptions& text, std::int64_t rows) {
  const std::int64_t length = text.context_length;
  const at::Tensor ids = (unit_values("tokens", rows * length) * (text.vocab_size - 10))
                             .to(at::kLong)
                             .view({rows, length}) +
                         5;
  for (std::int64_t b = 0; b < rows; ++b) {
    const std::int64_t end = 2 + (5 * b) % (length - 2);
    ids[b][0] = text.vocab_size - 2;
    ids[b].narrow(0, end, length - end).zero_();
    ids[b][end - 1] = text.vocab_size - 1;
  }
  return ids;
}

void compare_features(const std::string& config, bool filled_weights, bool wide, bool train) {
  const auto model = make_model(read_model(config), 11);
  if (wide) model->to(torch::kDouble);
  if (filled_weights) fill(*model);
  model->train(train);
  TensorFile file = weights_file(*model);
  // The running statistics that training moves are written as they were before it.
  for (auto& item : file.tensors) item.second = item.second.clone();
  file.metadata.emplace_back("mode", train ? "train" : "eval");
  const VisionOptions& v = model->options().vision;
  const at::Tensor pixels = signed_values("pixels", {6, 3, v.image_height, v.image_width})
                                .to(wide ? at::kDouble : at::kFloat);
  const at::Tensor tokens = sample_tokens(model->options().text, 6);
  const at::AutoGradMode gradients(wide);
  const at::Tensor image = model->encode_image(pixels, true);
  const at::Tensor text = model->encode_text(tokens, true);
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    file.tensors.emplace_back(name, tensor.detach());
  };
  if (wide) {
    add("direction_image", signed_values("direction.image", image.sizes()));
    add("direction_text", signed_values("direction.text", text.sizes()));
    ((image * signed_values("direction.image", image.sizes())).sum() +
     (text * signed_values("direction.text", text.sizes())).sum())
        .backward();
    for (const auto& [name, parameter] : model->named_parameters_in_order()) {
      if (parameter.grad().defined()) add("gradient." + name, parameter.grad());
    }
  }
  add("pixels", pixels);
  add("tokens", tokens);
  add("image", image);
  add("text", text);
  const std::string path = write_temporary("live.safetensors", "");
  write_safetensors(path, file);
  EXPECT_EQ(compare("features", path), 0) << config;
  std::filesystem::remove(path);
}

TEST_F(LiveModel, TinyModelsFeaturesAndGradientsInFloat64) {
  compare_features("tiny-vit", true, true, true);
  compare_features("tiny-rn", true, true, true);
}

TEST_F(LiveModel, FreshTinyModelsInFloat32) {
  compare_features("tiny-vit", false, false, false);
  compare_features("pictures-rn24", false, false, false);
}

TEST_F(LiveModel, StandardSizesInFloat32) {
  if (std::getenv("PLUMBLINE_SLOW_TESTS") == nullptr) {
    GTEST_SKIP() << "2 GB of weights, a minute: set PLUMBLINE_SLOW_TESTS=1";
  }
  for (const char* config : {"ViT-B-32", "ViT-B-32-quickgelu", "RN50", "ViT-B-16-SigLIP"}) {
    compare_features(config, true, false, false);
  }
}

TEST_F(LiveModel, FreshWeightsHaveOpenClipsDistributions) {
  for (const char* config : {"tiny-vit", "tiny-rn"}) {
    const auto model = make_model(read_model(config), 5);
    const std::string path = write_temporary("init.safetensors", "");
    write_safetensors(path, weights_file(*model));
    EXPECT_EQ(compare("init", path), 0) << config;
    std::filesystem::remove(path);
  }
}

TEST_F(LiveModel, BundledConfigurations) {
  nlohmann::json answers;
  std::filesystem::path folder;
  for (const auto& entry : std::filesystem::directory_iterator(".venv/lib/")) {
    folder = entry.path() / "site-packages/open_clip/model_configs";
    if (std::filesystem::exists(folder)) break;
  }
  ASSERT_TRUE(std::filesystem::exists(folder));
  folder = std::filesystem::absolute(folder);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    auto& answer = answers[entry.path().stem().string()];
    try {
      answer["tensors"] = nlohmann::json::array();
      for (const TensorShape& tensor : tensor_shapes(read_model(entry.path().string()))) {
        answer["tensors"].push_back({tensor.name, tensor.shape});
      }
    } catch (const UsageError& e) {
      answer = {{"refused", e.what()}};
    }
  }
  EXPECT_EQ(compare("configs", write_temporary("configs.json", answers.dump())), 0);
}

}  // namespace
}  // namespace plumbline
