// Whole checkpoints: written in each format and imported again, bit for bit; what does not fit is
// refused with the full list.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "core/assets.h"
#include "formats/huggingface.h"
#include "formats/import.h"
#include "formats/openclip.h"
#include "formats/torch_zip.h"
#include "formats/zip_file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Json small_config() {
  return {
      {"embed_dim", 16},
      {"vision_cfg",
       {{"image_size", 16}, {"patch_size", 8}, {"width", 32}, {"head_width", 16}, {"layers", 2}}},
      {"text_cfg",
       {{"context_length", 8}, {"vocab_size", 64}, {"width", 32}, {"heads", 2}, {"layers", 1}}}};
}

ExportedModel make(const Json& config, std::uint64_t seed = 5) {
  ExportedModel model;
  model.options = parse_model(config.dump(), "test");
  model.tensors = make_model(model.options, seed)->state_dict();
  model.preprocess = model.options.preprocess;
  return model;
}

class Import : public testing::Test {
 protected:
  Import() { fs::create_directories(folder_); }
  ~Import() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string write_config(const Json& config) const {
    std::ofstream(path("model.json")) << config;
    return path("model.json");
  }
  std::string make_folder(const std::string& name) const {
    fs::create_directories(path(name));
    return path(name);
  }

 private:
  std::string folder_ = testing::TempDir() + "plumbline_import_" + std::to_string(::getpid());
};

void expect_equal(const NamedTensors& given, const NamedTensors& expected) {
  const std::map<std::string, at::Tensor> by_name(given.begin(), given.end());
  EXPECT_EQ(given.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(by_name.contains(name)) << name;
    EXPECT_TRUE(at::equal(by_name.at(name), tensor)) << name;
  }
}

void write_state(const std::string& path, const NamedTensors& tensors, const std::string& prefix) {
  TorchWriter out;
  out.begin_dict();
  for (const auto& [name, tensor] : tensors) {
    out.text(prefix + name);
    out.tensor(tensor);
  }
  out.end_dict();
  out.close(path);
}

std::string refusal(const std::function<void()>& action, ExitCode code) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

TEST_F(Import, PlainStateDictOfEachFloatType) {
  const ExportedModel model = make(small_config());
  const std::string config = write_config(small_config());
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
    NamedTensors converted, expected;
    for (const auto& [name, tensor] : model.tensors) {
      converted.emplace_back(name, tensor.to(type));
      expected.emplace_back(name, tensor.to(type).to(at::kFloat));
    }
    write_state(path("w.pt"), converted, type == at::kDouble ? "module." : "");
    const ImportedModel imported = import_model(path("w.pt"), config);
    expect_equal(imported.model->state_dict(), expected);
    EXPECT_TRUE(imported.moments.empty());
  }
  const std::string message =
      refusal([&] { (void)import_model(path("w.pt"), ""); }, ExitCode::usage);
  EXPECT_NE(message.find("--model"), std::string::npos) << message;
}

TEST_F(Import, DifferencesAreListedInFull) {
  const std::string config = write_config(small_config());
  NamedTensors tensors = make(small_config()).tensors;
  tensors[0].first = "renamed.first";
  tensors[1].second = tensors[1].second.t().narrow(0, 0, 3);
  tensors[4].first = "renamed.second";
  write_state(path("w.pt"), tensors, "");
  const std::string message =
      refusal([&] { (void)import_model(path("w.pt"), config); }, ExitCode::usage);
  for (const char* part :
       {"2 missing", "positional_embedding [8, 32]", "2 unexpected", "renamed.first",
        "renamed.second", "text_projection [3, 32], [32, 16]"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in\n" << message;
  }
}

TEST_F(Import, OpenClipFolder) {
  for (const bool custom : {false, true}) {
    Json config = small_config();
    config["custom_text"] = custom;
    ExportedModel model = make(config);
    model.preprocess.mode = ResizeMode::squash;
    model.preprocess.mean = {0.1F, 0.2F, 0.3F};
    const std::string folder = make_folder(custom ? "custom" : "plain");
    write_openclip_folder(folder, model);
    const ImportedModel imported = import_model(folder, "");
    expect_equal(imported.model->state_dict(), model.tensors);
    EXPECT_EQ(imported.model->options().preprocess.mode, ResizeMode::squash);
    EXPECT_EQ(imported.model->options().preprocess.mean, model.preprocess.mean);
    EXPECT_EQ(Json::parse(imported.model->options().source_json),
              Json::parse(model.options.source_json));
  }
}

TrainingState trained(const ExportedModel& model, const std::string& rule,
                      const std::function<bool(const std::string&)>& is_trained) {
  TrainingState state;
  state.name = "run";
  state.optimizer = {"adamw", 1e-3, 0.9, 0.95, 1e-7, 0.1, std::nullopt, rule};
  state.epoch = 3;
  state.step = 41;
  state.applied_steps = 40;
  state.samples = 4100;
  for (const TensorShape& tensor : tensor_shapes(model.options)) {
    if (!tensor.parameter || !is_trained(tensor.name)) continue;
    state.moments.emplace_back("exp_avg." + tensor.name, at::randn(tensor.shape));
    state.moments.emplace_back("exp_avg_sq." + tensor.name, at::rand(tensor.shape));
  }
  return state;
}

TEST_F(Import, TrainingFileKeepsMomentsUnderBothGroupRules) {
  const ExportedModel model = make(small_config());
  const std::string config = write_config(small_config());
  const auto all = [](const std::string&) { return true; };
  const auto text = [](const std::string& name) { return !name.starts_with("visual."); };
  for (const std::string rule : {"openclip3", "openclip4"}) {
    for (const bool locked : {false, true}) {
      TrainingState state = locked ? trained(model, rule, text) : trained(model, rule, all);
      if (locked) state.average = make(small_config(), 6).tensors;
      write_openclip_training(path("epoch_3.pt"), model, state);
      const ImportedModel imported = import_model(path("epoch_3.pt"), config);
      expect_equal(imported.model->state_dict(), model.tensors);
      expect_equal(imported.moments, state.moments);
      expect_equal(imported.average, state.average);
      EXPECT_EQ(imported.optimizer.decay_rule, rule);
      EXPECT_EQ(imported.optimizer.weight_decay, 0.1);
      EXPECT_EQ(imported.optimizer.beta2, 0.95);
      EXPECT_EQ(imported.step, 41);
      EXPECT_EQ(imported.applied_steps, 40);
      EXPECT_EQ(imported.epoch, 3);
      EXPECT_EQ(imported.samples, 4100);
    }
  }
}

TEST_F(Import, OptimizerOfAnotherModelIsRefused) {
  const ExportedModel model = make(small_config());
  const auto some = [](const std::string& name) { return name.find("mlp") == std::string::npos; };
  write_openclip_training(path("epoch_3.pt"), model, trained(model, "openclip3", some));
  const std::string config = write_config(small_config());
  const std::string message =
      refusal([&] { (void)import_model(path("epoch_3.pt"), config); }, ExitCode::usage);
  EXPECT_NE(message.find("fit neither openclip3 nor openclip4"), std::string::npos) << message;
  const std::string empty = refusal(
      [&] { write_openclip_training(path("none.pt"), model, TrainingState{}); }, ExitCode::usage);
  EXPECT_FALSE(fs::exists(path("none.pt")));
}

TEST_F(Import, HuggingFaceFolderBothWays) {
  const std::string vocabulary = find_asset("bpe_simple_vocab_16e6.txt.gz");
  for (const bool quick : {false, true}) {
    Json config = small_config();
    config["quick_gelu"] = quick;
    config["vision_cfg"]["mlp_ratio"] = 3.1;  // 99 of width 32, not a round ratio
    const ExportedModel model = make(config);
    const std::string folder = make_folder(quick ? "quick" : "erf");
    write_hugging_face(folder, model, vocabulary);
    const ImportedModel imported = import_model(folder, "");
    expect_equal(imported.model->state_dict(), model.tensors);
    EXPECT_EQ(imported.model->options().text.activation, quick ? "quick_gelu" : "gelu");
    EXPECT_EQ(imported.model->options().text.pool_type, "argmax");
    EXPECT_EQ(imported.model->options().preprocess.std, model.preprocess.std);
  }
}

TEST_F(Import, HuggingFaceNamesEverythingThatItCannotHold) {
  Json config = small_config();
  config["init_logit_bias"] = -10;
  config["vision_cfg"]["ls_init_value"] = 0.1;
  config["vision_cfg"]["no_ln_pre"] = true;
  config["text_cfg"]["no_causal_mask"] = true;
  const std::string folder = make_folder("refused");
  const std::string message =
      refusal([&] { write_hugging_face(folder, make(config), "unused"); }, ExitCode::usage);
  for (const char* part : {"logit_bias", "LayerScale", "ln_pre", "causal"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in\n" << message;
  }
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST_F(Import, ForeignPickleIsRefusedByNameAndNothingRuns) {
  using namespace std::string_literals;
  const std::string touched = path("touched");
  const std::string pickle =
      "\x80\x02"
      "cos\nsystem\nX" +
      std::string(1, static_cast<char>(touched.size() + 6)) + "\0\0\0touch "s + touched + "\x85R.";
  write_zip(path("evil.pt"), {{"a/data.pkl", pickle.data(), pickle.size()}});
  const std::string config = write_config(small_config());
  const std::string message =
      refusal([&] { (void)import_model(path("evil.pt"), config); }, ExitCode::bad_data);
  EXPECT_NE(message.find("'os.system'"), std::string::npos) << message;
  EXPECT_FALSE(fs::exists(touched));
}

TEST_F(Import, WeightsThatAreNotFinite) {
  NamedTensors tensors = make(small_config()).tensors;
  tensors[3].second = at::full_like(tensors[3].second, std::nanf(""));
  write_state(path("w.pt"), tensors, "");
  const std::string config = write_config(small_config());
  const std::string message =
      refusal([&] { (void)import_model(path("w.pt"), config); }, ExitCode::bad_data);
  EXPECT_NE(message.find("'" + tensors[3].first + "'"), std::string::npos) << message;
}

}  // namespace
}  // namespace plumbline
