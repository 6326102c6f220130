// bfloat16 compute (autocast, as training with train.precision: bf16 runs it) beside float32, with
// packed text and a pruned last block.
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "plumbline/model.h"
#include "tests/model/fill.h"

namespace plumbline {
namespace {

struct Results {
  at::Tensor image_BD, text_BD, gradient;  ///< all gradients one behind the other
};

Results run(bool bfloat16) {
  const auto model = make_model(read_model("tiny-vit"), 3);
  const ModelOptions& options = model->options();
  const at::Tensor pixels =
      signed_values("pixels", {5, 3, options.vision.image_height, options.vision.image_width})
          .to(at::kFloat);
  at::Tensor tokens = at::zeros({5, options.text.context_length}, at::kInt);
  for (std::int64_t b = 0; b < 5; ++b) {
    tokens[b].narrow(0, 0, 3 + b).copy_(at::arange(1, 4 + b, at::kInt));
    tokens[b][3 + b] = options.text.vocab_size - 1;
  }
  at::autocast::set_autocast_enabled(at::kCPU, bfloat16);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  Results results{model->encode_image(pixels, true), model->encode_text(tokens, true), {}};
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  const auto weights = [](const char* name, const at::Tensor& like) {
    return signed_values(name, like.sizes()).to(at::kFloat);
  };
  ((results.image_BD * weights("image", results.image_BD)).sum() +
   (results.text_BD * weights("text", results.text_BD)).sum())
      .backward();
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : model->named_parameters_in_order()) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad().flatten());
  }
  results.gradient = at::cat(gradients);
  return results;
}

double distance(const at::Tensor& got, const at::Tensor& want) {
  return ((got.to(at::kFloat) - want).norm() / want.norm()).item<double>();
}

TEST(Precision, Bfloat16StaysNearFloat32) {
  const Results got = run(true), want = run(false);
  EXPECT_EQ(got.gradient.scalar_type(), at::kFloat) << "weights and gradients are float32";
  EXPECT_GT(distance(got.image_BD, want.image_BD), 1e-4) << "nothing was computed in bfloat16";
  EXPECT_LT(distance(got.image_BD, want.image_BD), 2e-2);
  EXPECT_LT(distance(got.text_BD, want.text_BD), 2e-2);
  EXPECT_LT(distance(got.gradient, want.gradient), 4e-2);
}

}  // namespace
}  // namespace plumbline
