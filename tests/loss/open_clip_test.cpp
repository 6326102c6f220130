// Against OpenCLIP itself, where the Python environment has it.
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

[[nodiscard]] std::vector<double> hex_numbers(const std::string& line) {
  std::vector<double> out;
  std::istringstream in(line);
  for (std::string word; in >> word;) out.push_back(std::strtod(word.c_str(), nullptr));
  return out;
}

TEST(OpenClip, LossesAndGradientsAgree) {
  const std::string root = PLUMBLINE_SOURCE_DIR;
  const std::string python = root + "/.venv/bin/python";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "no Python environment at " << python;
  const oracle::Features f = oracle::features(9, 16, 0.4, 21);
  LossInput input = oracle::input_of(f, 20);
  input.logit_bias = at::full({}, -7.5, at::kDouble);
  const auto folder = std::filesystem::temp_directory_path() / str("plumbline-loss-", ::getpid());
  std::filesystem::create_directories(folder);
  const std::string in = folder / "in.txt", out = folder / "out.txt";
  {
    std::ofstream file(in);
    file.precision(17);
    file << "9 16 20 -7.5\n";
    for (const at::Tensor& x : {f.image_BD, f.text_BD}) {
      for (std::int64_t i = 0; i < x.numel(); ++i) file << x.view({-1})[i].item<double>() << '\n';
    }
  }
  const std::string command =
      str("OMP_NUM_THREADS=1 ", python, " ", root, "/tests/loss/open_clip_loss.py ", in, " ", out);
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  std::ifstream file(out);
  for (const char* kind : {"clip", "siglip"}) {
    std::string line;
    ASSERT_TRUE(std::getline(file, line));
    std::vector<double> want = hex_numbers(line);
    ASSERT_EQ(want.size(), 3u + 2 * 9 * 16);
    const LossOutput got = find_loss(kind)(input, *make_single_communicator());
    EXPECT_NEAR(got.loss.item<double>(), want[0], 1e-12) << kind;
    EXPECT_NEAR(got.d_logit_scale.item<double>(), want[1], 1e-12) << kind;
    if (std::string_view(kind) == "siglip") {
      EXPECT_NEAR(got.d_logit_bias.item<double>(), want[2], 1e-12);
    }
    const at::Tensor rest = at::from_blob(want.data() + 3, {2, 9, 16}, at::kDouble);
    EXPECT_LT((got.d_image_BD - rest[0]).abs().max().item<double>(), 1e-12) << kind;
    EXPECT_LT((got.d_text_BD - rest[1]).abs().max().item<double>(), 1e-12) << kind;
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace plumbline
