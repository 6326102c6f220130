// Against OpenCLIP itself, where the Python environment has it: in one process, and in the process
// groups that it trains in.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "oracle.h"
#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

struct Answer {
  std::string name;  ///< empty when lines are numbers alone
  std::vector<double> numbers;
};

/// A line of hexadecimal numbers, perhaps behind words.
[[nodiscard]] Answer parse(const std::string& line) {
  Answer out;
  std::istringstream in(line);
  for (std::string word; in >> word;) {
    char* end = nullptr;
    const double number = std::strtod(word.c_str(), &end);
    if (*end == '\0' && word.find('x') != std::string::npos) {
      out.numbers.push_back(number);
    } else {
      out.name += (out.name.empty() ? "" : " ") + word;
    }
  }
  return out;
}

class OpenClip : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(python_)) GTEST_SKIP() << "no Python environment at " << python_;
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// What `script` of this folder writes for these features.
  [[nodiscard]] std::vector<Answer> ask(const std::string& script, const oracle::Features& f,
                                        double scale, double bias) const {
    const std::string in = folder_ / "in.txt", out = folder_ / "out.txt";
    {
      std::ofstream file(in);
      file.precision(17);
      file << f.image_BD.size(0) << ' ' << f.image_BD.size(1) << ' ' << scale << ' ' << bias
           << '\n';
      for (const at::Tensor& x : {f.image_BD, f.text_BD}) {
        for (std::int64_t i = 0; i < x.numel(); ++i) file << x.view({-1})[i].item<double>() << '\n';
      }
    }
    const std::string command =
        str("OMP_NUM_THREADS=1 ", python_, " ", root_, "/tests/loss/", script, " ", in, " ", out);
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    std::vector<Answer> answers;
    std::ifstream file(out);
    for (std::string line; std::getline(file, line);) answers.push_back(parse(line));
    return answers;
  }

  const std::string root_ = PLUMBLINE_SOURCE_DIR;
  const std::string python_ = root_ + "/.venv/bin/python";
  const fs::path folder_ = fs::temp_directory_path() / str("plumbline-loss-", ::getpid());
};

/// What an optimizer of this many ranks sees: tower gradients row by row, those of scale and bias
/// summed over the ranks.
[[nodiscard]] LossOutput ours(const std::string& kind, const LossInput& whole, int world) {
  const std::int64_t rows = whole.image_BD.size(0) / world;
  std::vector<LossOutput> of_rank(static_cast<std::size_t>(world));
  run_in_process(world, [&](Communicator& ranks) {
    LossInput mine = whole;
    mine.image_BD = whole.image_BD.narrow(0, ranks.rank() * rows, rows);
    mine.text_BD = whole.text_BD.narrow(0, ranks.rank() * rows, rows);
    of_rank[static_cast<std::size_t>(ranks.rank())] = find_loss(kind)(mine, ranks);
  });
  LossOutput out = {
      of_rank[0].loss, {}, {}, at::zeros({}, at::kDouble), at::zeros({}, at::kDouble)};
  std::vector<at::Tensor> image, text;
  for (const LossOutput& part : of_rank) {
    image.push_back(part.d_image_BD);
    text.push_back(part.d_text_BD);
    out.d_logit_scale += part.d_logit_scale;
    if (part.d_logit_bias.defined()) out.d_logit_bias += part.d_logit_bias;
  }
  out.d_image_BD = at::cat(image);
  out.d_text_BD = at::cat(text);
  return out;
}

/// Largest difference of the towers' gradients when the peer's are multiplied by `factor`.
[[nodiscard]] double towers_differ(const LossOutput& got, const Answer& want, double factor) {
  const auto rows = got.d_image_BD.size(0), width = got.d_image_BD.size(1);
  const at::Tensor peer = at::tensor(want.numbers, at::kDouble).slice(0, 3).view({2, rows, width});
  const at::Tensor both = at::stack({got.d_image_BD, got.d_text_BD});
  return (both - factor * peer).abs().max().item<double>();
}

void expect_same_numbers(const LossOutput& got, const Answer& want, bool bias) {
  EXPECT_NEAR(got.loss.item<double>(), want.numbers[0], 1e-12);
  EXPECT_NEAR(got.d_logit_scale.item<double>(), want.numbers[1], 1e-12);
  if (bias) {
    EXPECT_NEAR(got.d_logit_bias.item<double>(), want.numbers[2], 1e-12);
  }
}

TEST_F(OpenClip, LossesAndGradientsAgree) {
  const oracle::Features f = oracle::features(9, 16, 0.4, 21);
  LossInput input = oracle::input_of(f, 20);
  input.logit_bias = at::full({}, -7.5, at::kDouble);
  const std::vector<Answer> answers = ask("open_clip_loss.py", f, 20, -7.5);
  ASSERT_EQ(answers.size(), 2U);
  for (const std::size_t i : {0U, 1U}) {
    const std::string kind = i == 0 ? "clip" : "siglip";
    SCOPED_TRACE(kind);
    ASSERT_EQ(answers[i].numbers.size(), 3U + 2 * 9 * 16);
    const LossOutput got = ours(kind, input, 1);
    expect_same_numbers(got, answers[i], kind == "siglip");
    EXPECT_LT(towers_differ(got, answers[i], 1), 1e-12);
  }
}

/// ClipLoss with each pair of local_loss and gather_with_grad, SigLipLoss with each dist_impl, in
/// gloo groups of 2 and 4 processes; gradients as averaged by DistributedDataParallel.
TEST_F(OpenClip, ProcessGroupsAgree) {
  const oracle::Features f = oracle::features(12, 16, 0.4, 22);
  LossInput input = oracle::input_of(f, 20);
  input.logit_bias = at::full({}, -7.5, at::kDouble);
  const std::vector<Answer> answers = ask("open_clip_ranks.py", f, 20, -7.5);
  ASSERT_EQ(answers.size(), 16U);
  int exact = 0;
  for (const Answer& want : answers) {
    SCOPED_TRACE(want.name);
    ASSERT_EQ(want.numbers.size(), 3U + 2 * 12 * 16);
    const int world = want.name.back() - '0';
    const bool clip = want.name.starts_with("clip");
    const LossOutput got = ours(clip ? "clip" : "siglip", input, world);
    expect_same_numbers(got, want, !clip);
    if (want.name.starts_with("clip 00")) {
      // Neither flag: the towers get 1/W of the true gradient.
      EXPECT_LT(towers_differ(got, want, world), 1e-12);
      EXPECT_GT(towers_differ(got, want, 1), 1e-2);
    } else if (want.name.starts_with("clip 10")) {
      // local_loss alone: what other ranks' logits say about a row is lost, no factor mends it.
      for (const double factor : {1.0, 2.0, 4.0}) {
        EXPECT_GT(towers_differ(got, want, factor), 1e-2);
      }
    } else {
      EXPECT_LT(towers_differ(got, want, 1), 1e-12);
      ++exact;
    }
  }
  EXPECT_EQ(exact, 12);  // of each world size two of ClipLoss and four of SigLipLoss
}

}  // namespace
}  // namespace plumbline
