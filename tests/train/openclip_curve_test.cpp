// Twenty steps of TrainStep in float64 against OpenCLIP's own training loop (openclip_curve.py):
// losses, scales and the trained weights. In float64 batch normalisation hides nothing.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "plumbline/error.h"
#include "train/step.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

class OpenClipCurve : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string root = PLUMBLINE_SOURCE_DIR;
    const std::string python = root + "/.venv/bin/python";
    if (!fs::exists(python)) GTEST_SKIP() << "no " << python << ": launch/setup.sh makes it";
    folder_ = fs::temp_directory_path() / str("plumbline-curve-", ::getpid());
    fs::create_directories(folder_);
    command_ = str("OMP_NUM_THREADS=1 '", python, "' '", root, "/tests/train/openclip_curve.py' ");
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  void make(const std::string& kind) {
    const std::string command = str(command_, kind, " '", folder_.string(), "'");
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    file_ = read_safetensors(folder_ / "curve.safetensors").tensors;
  }

  [[nodiscard]] at::Tensor tensor(const std::string& name) const {
    const auto found = std::find_if(file_.begin(), file_.end(),
                                    [&](const auto& item) { return item.first == name; });
    require(found != file_.end(), str("no tensor ", name));
    return found->second;
  }
  [[nodiscard]] NamedTensors part(const std::string& prefix) const {
    NamedTensors out;
    for (const auto& [name, value] : file_) {
      if (name.starts_with(prefix)) out.emplace_back(name.substr(prefix.size()), value);
    }
    return out;
  }

  [[nodiscard]] Batch batch(std::int64_t step) const {
    const at::Tensor pixels = tensor("pixels")[step], tokens = tensor("tokens")[step];
    Batch batch;
    batch.step = step;
    batch.rows = tokens.size(0);
    batch.pixels_BHWC = {pixels.data_ptr<std::uint8_t>(), static_cast<std::size_t>(pixels.numel())};
    batch.tokens_BL = {tokens.data_ptr<std::int32_t>(), static_cast<std::size_t>(tokens.numel())};
    batch.row.resize(static_cast<std::size_t>(batch.rows));
    return batch;
  }

  void expect_equal_curves(const std::vector<std::string>& settings, double weight_bound) {
    SCOPED_TRACE(settings.empty() ? "whole batches" : settings[0]);
    const RunConfig config = read_run(folder_ / "run.yaml", settings);
    const auto model = make_model(config.resolved_model, 0);
    model->to(torch::kDouble);
    (void)load_state_dict(*model, part("start."), "curve.safetensors");
    model->train();
    Ranks ranks{make_single_communicator(), nullptr};
    TrainStep step(config, *model, ranks, at::kCPU);
    const at::Tensor loss = tensor("loss"), scale = tensor("scale");
    for (std::int64_t k = 0; k < loss.numel(); ++k) {
      const double want_scale = scale[k].item<double>(), want = loss[k].item<double>();
      EXPECT_NEAR(std::exp(model->logit_scale().item<double>()) / want_scale, 1, 1e-11) << k;
      const double lr = learning_rate(config.schedule, config.optimizer.lr, k, config.train.steps);
      EXPECT_NEAR(step.run(batch(k), lr).loss / want, 1, 1e-9) << "step " << k;
    }
    const NamedTensors trained = model->state_dict();
    const NamedTensors wanted = part("end.");
    ASSERT_EQ(trained.size(), wanted.size());
    for (const auto& [name, value] : trained) {
      const at::Tensor want = tensor("end." + name);
      ASSERT_EQ(value.sizes(), want.sizes()) << name;
      const double worst =
          (value.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>();
      EXPECT_LT(worst, weight_bound) << name;
    }
  }

  fs::path folder_;
  std::string command_;
  NamedTensors file_;
};

TEST_F(OpenClipCurve, ViTWithClipLossUpToTheClampOfTheScale) {
  make("clip");
  ASSERT_GT(tensor("scale").max().item<double>(), 99.9999999);
  expect_equal_curves({}, 1e-9);
  expect_equal_curves({"train.micro_batch=3"}, 1e-9);
}

TEST_F(OpenClipCurve, CustomTextWithSigmoidLossAndTheOtherDecayRule) {
  make("siglip");
  expect_equal_curves({}, 1e-9);
  expect_equal_curves({"train.micro_batch=4"}, 1e-9);
}

TEST_F(OpenClipCurve, ModifiedResNetWithItsRunningStatistics) {
  make("resnet");
  expect_equal_curves({}, 1e-7);
}

}  // namespace
}  // namespace plumbline
