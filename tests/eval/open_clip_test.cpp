// The classifier rows of a real text tower equal those of open_clip.build_zero_shot_classifier.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "core/file.h"
#include "plumbline/error.h"
#include "plumbline/eval.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = R"({"embed_dim": 32,
  "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16, "head_width": 32},
  "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}})";

std::vector<std::string> lines_of(const std::string& path, std::size_t most) {
  std::istringstream text(read_file(path));
  std::vector<std::string> lines;
  for (std::string line; lines.size() < most && std::getline(text, line);) lines.push_back(line);
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text.append(line).append("\n");
  return text;
}

TEST(OpenClip, ZeroShotWeights) {
  const fs::path source = PLUMBLINE_SOURCE_DIR;
  const fs::path python = source / ".venv/bin/python";
  if (!fs::exists(python)) GTEST_SKIP() << "no .venv: run launch/setup.sh";
  if (!fs::exists(source / "assets/complete")) GTEST_SKIP() << "no assets: run launch/setup.sh";
  const auto names = lines_of((source / "assets/imagenet_classnames.txt").string(), 23);
  const auto templates = lines_of((source / "assets/templates/openai80.txt").string(), 80);
  ASSERT_EQ(templates.size(), 80U);

  const test::TempFolder folder;
  test::write_file(folder / "config.json", kConfig);
  test::write_file(folder / "names.txt", joined(names));
  test::write_file(folder / "templates.txt", joined(templates));
  const auto model = make_model(read_model(folder / "config.json"), 11);
  write_safetensors(folder / "model.safetensors", {model->state_dict(), {}});

  EvalSetOptions o;
  o.layout = "imagefolder";
  o.path = folder / "set";
  o.names = folder / "names.txt";
  for (std::size_t i = 0; i < names.size(); ++i) {
    test::write_file(folder / str("set/", 100 + i, "/x.png"), "never decoded");
  }
  const EvalSet set = open_eval_set(o, folder / "templates.txt", "");
  const auto tokenizer = make_tokenizer({});
  const auto host = make_single_communicator();
  EvalContext context{*model, *tokenizer, {}, *host};
  const at::Tensor weights = zero_shot_weights(set.prompts, context);

  std::string command = python.string();
  command.append(" ").append((source / "tests/eval/open_clip_classifier.py").string());
  for (const char* name :
       {"config.json", "model.safetensors", "names.txt", "templates.txt", "out.safetensors"}) {
    command.append(" ").append(folder / name);
  }
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  const TensorFile expected = read_safetensors(folder / "out.safetensors");
  ASSERT_EQ(expected.tensors.size(), 1U);
  const at::Tensor& reference = expected.tensors[0].second;
  ASSERT_EQ(weights.sizes(), reference.sizes());
  EXPECT_LE((weights - reference).abs().max().item<double>(), 1e-5);
  // Rows of different classes differ by far more, so the comparison can fail.
  EXPECT_GT((weights[0] - reference[1]).abs().max().item<double>(), 1e-3);
}

}  // namespace
}  // namespace plumbline
