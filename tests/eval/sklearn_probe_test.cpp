// The linear probe beside scikit-learn's logistic regression on the same features.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "eval/linear_probe.h"
#include "plumbline/error.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

/// Unit rows around one direction a class; classes overlap.
ProbeData clouds(std::int64_t n, std::int64_t classes, const at::Tensor& centres_CD) {
  const at::Tensor targets = torch::arange(n).remainder(classes);
  const at::Tensor rows =
      centres_CD.index_select(0, targets) + 1.1 * torch::randn({n, centres_CD.size(1)});
  return {torch::nn::functional::normalize(rows), targets};
}

TEST(LinearProbe, AgreesWithScikitLearnsLogisticRegression) {
  const fs::path source = PLUMBLINE_SOURCE_DIR;
  const fs::path python = source / ".venv/bin/python";
  if (!fs::exists(python)) GTEST_SKIP() << "no .venv: run launch/setup.sh";
  torch::set_num_threads(1);
  torch::manual_seed(7);
  constexpr std::int64_t kClasses = 6;
  const at::Tensor centres = torch::randn({kClasses, 24});
  const ProbeData train = clouds(6000, kClasses, centres), test = clouds(3000, kClasses, centres);
  const LinearProbe probe = fit_probe(train, kClasses, 0);
  const test::TempFolder folder;
  write_safetensors(folder / "in.safetensors", {{{"train", train.features_ND},
                                                 {"train_targets", train.targets_N},
                                                 {"test", test.features_ND}},
                                                {}});
  const std::string command =
      str(python.string(), " ", (source / "tests/eval/sklearn_probe.py").string(), " ",
          folder / "in.safetensors", " ", folder / "out.safetensors");
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  const at::Tensor theirs = read_safetensors(folder / "out.safetensors").tensors.at(0).second;
  const at::Tensor ours = torch::addmm(probe.bias_C, test.features_ND, probe.weight_CD.t());
  const at::Tensor right = theirs.argmax(1) == test.targets_N;
  const double accuracy = right.to(torch::kDouble).mean().item<double>();
  EXPECT_GT(accuracy, 0.6) << "classes overlap, and can be told apart";
  EXPECT_LT(accuracy, 0.99);
  EXPECT_NEAR(probe_accuracy(probe, test), accuracy, 0.01);
  const double alike =
      (ours.argmax(1) == theirs.argmax(1)).to(torch::kDouble).mean().item<double>();
  EXPECT_GT(alike, 0.95);
  // Another fit would be far from it.
  const LinearProbe shrunk = fit_probe(train, kClasses, 10);
  const at::Tensor other = torch::addmm(shrunk.bias_C, test.features_ND, shrunk.weight_CD.t());
  EXPECT_LT((ours.softmax(1) - theirs.softmax(1)).abs().mean().item<double>(),
            0.5 * (other.softmax(1) - theirs.softmax(1)).abs().mean().item<double>());
}

}  // namespace
}  // namespace plumbline
