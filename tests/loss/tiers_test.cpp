// Tier t1 of the CLIP loss: on the CPU against t0, and the arithmetic of its GPU form (bfloat16
// features, float32 logits, gradients of logits rounded to bfloat16) emulated and held to float64.
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include "kernels/contrastive/contrastive.h"
#include "oracle.h"
#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

[[nodiscard]] LossOutput run(LossInput input, LossTier tier) {
  input.tier = tier;
  return clip_loss(input, *make_single_communicator());
}

TEST(LossTiers, OneEqualsZero) {
  // Around a block of rows (32), a tile of columns (256) and eight blocks.
  for (const std::int64_t rows : {1, 2, 31, 33, 255, 257, 700}) {
    for (const double scale : {14.3, 100.0}) {
      SCOPED_TRACE(str(rows, " rows, scale ", scale));
      const LossInput in = oracle::input_of(oracle::features(rows, 40, 0.4, 5), scale, at::kFloat);
      LossInput exact = oracle::input_of({in.image_BD, in.text_BD}, scale);
      exact.logit_scale = in.logit_scale.exp().to(at::kDouble).log();
      const LossOutput got = run(in, LossTier::t1), want = run(exact, LossTier::t0);
      EXPECT_NEAR(got.loss.item<double>(), want.loss.item<double>(),
                  1e-5 * want.loss.item<double>());
      if (rows == 1) continue;  // no negatives: all gradients are zero
      EXPECT_LT(oracle::distance(got.d_image_BD, want.d_image_BD), 1e-5);
      EXPECT_LT(oracle::distance(got.d_text_BD, want.d_text_BD), 1e-5);
      EXPECT_LT(oracle::distance(got.d_logit_scale, want.d_logit_scale), 1e-4);
    }
  }
}

TEST(LossTiers, TwoRunsAreEqual) {
  const LossInput in = oracle::input_of(oracle::features(300, 64, 0.4, 6), 30, at::kFloat);
  const LossOutput a = run(in, LossTier::t1), b = run(in, LossTier::t1);
  EXPECT_TRUE(at::equal(a.d_image_BD, b.d_image_BD) && at::equal(a.d_text_BD, b.d_text_BD));
  EXPECT_EQ(a.loss.item<double>(), b.loss.item<double>());
}

/// As a flipped bit in memory: the first product G^T I reads a G that the sums have not seen.
std::unique_ptr<at::ObserverContext> corrupt(const at::RecordFunction& call) {
  const auto inputs = call.inputs();
  if (inputs.size() < 2 || !inputs[1].isTensor()) return nullptr;
  const at::Tensor g_NB = inputs[1].toTensor();
  if (g_NB.dim() == 2 && !g_NB.is_contiguous()) g_NB.data_ptr<float>()[0] += 1;
  return nullptr;
}

TEST(LossTiers, WrongProductRaisesTheAlarm) {
  const LossInput in = oracle::input_of(oracle::features(64, 40, 0.4, 7), 14.3, at::kFloat);
  EXPECT_NO_THROW((void)run(in, LossTier::t1));
  const auto handle = at::addGlobalCallback(
      at::RecordFunctionCallback(corrupt).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  std::string message;
  try {
    (void)run(in, LossTier::t1);
  } catch (const Error& e) {
    message = e.what();
  }
  at::removeCallback(handle);
  EXPECT_NE(message.find("on 1 rank(s) the gradients contradict each other"), std::string::npos)
      << message;
  EXPECT_NE(message.find("rank 0, one of them"), std::string::npos) << message;
}

TEST(LossTiers, AreReadAndRefused) {
  EXPECT_EQ(read_loss_tier("auto", at::kCPU), LossTier::automatic);
  EXPECT_EQ(read_loss_tier("t0", at::kCPU), LossTier::t0);
  EXPECT_EQ(read_loss_tier("t1", at::kCPU), LossTier::t1);
  EXPECT_THROW((void)read_loss_tier("t2", at::kCPU), UsageError);
  EXPECT_THROW((void)run(oracle::input_of(oracle::features(3, 8, 0, 1), 10), LossTier::t1),
               UsageError)
      << "t1 took float64";
  if (!torch::cuda::is_available()) {
    EXPECT_THROW((void)read_loss_tier("t1", at::Device(at::kCUDA, 0)), UsageError);
  }
}

/// What a GPU computes in tier t1, by the reference kernels, with tiles of `columns`.
[[nodiscard]] LossOutput emulate(const LossInput& in, std::int64_t columns) {
  const std::int64_t B = in.image_BD.size(0);
  const at::Tensor scale = in.logit_scale.exp(), c = (scale - 70).clamp_min(0);
  const at::Tensor row = at::zeros({B}), column = at::zeros({B}), x_ii = at::zeros({B});
  const auto tile = [&](const at::Tensor& x, std::int64_t first) {
    return ContrastiveTile{x.data_ptr<float>(), B,      x.size(1),
                           x.stride(0),         -first, scale.data_ptr<float>()};
  };
  const auto logits = [&](std::int64_t first) {
    const std::int64_t n = std::min(columns, B - first);
    return at::mm(in.image_BD, in.text_BD.narrow(0, first, n).t());
  };
  for (std::int64_t first = 0; first < B; first += columns) {
    const at::Tensor x = logits(first);
    cpu::contrastive_statistics({tile(x, first), row.data_ptr<float>(),
                                 column.data_ptr<float>() + first, x_ii.data_ptr<float>(),
                                 nullptr});
  }
  const at::Tensor p = (x_ii * scale - c).exp(), u = 1 / (row + p), v = 1 / (column + p);
  const at::Tensor diagonal = -(row * u + column * v), sums = at::zeros({3}, at::kDouble);
  LossOutput out;
  out.loss = (at::log1p(row / p) + at::log1p(column / p)).mean() / 2;
  out.d_image_BD = at::zeros_like(in.image_BD);
  out.d_text_BD = at::zeros_like(in.text_BD);
  for (std::int64_t first = 0; first < B; first += columns) {
    const at::Tensor x = logits(first), g = at::empty(x.sizes(), at::kBFloat16);
    cpu::contrastive_gradient({tile(x, first), u.data_ptr<float>(), v.data_ptr<float>() + first,
                               diagonal.data_ptr<float>(), g.data_ptr(), FloatType::bfloat16,
                               g.stride(0), sums.data_ptr<double>(), nullptr});
    const at::Tensor rounded = g.to(at::kFloat);
    out.d_image_BD.addmm_(rounded, in.text_BD.narrow(0, first, x.size(1)));
    out.d_text_BD.narrow(0, first, x.size(1)).copy_(at::mm(rounded.t(), in.image_BD));
  }
  // The identity that clip_loss watches: of the rounded G it holds to rounding of float32.
  const double image = (in.image_BD * out.d_image_BD).sum(at::kDouble).item<double>();
  const double text = (in.text_BD * out.d_text_BD).sum(at::kDouble).item<double>();
  const double magnitude = sums[2].item<double>();
  EXPECT_NEAR(image, sums[1].item<double>(), 1e-6 * magnitude);
  EXPECT_NEAR(text, sums[1].item<double>(), 1e-6 * magnitude);
  out.d_logit_scale = sums[0] * scale / (2.0 * static_cast<double>(B));
  for (const at::Tensor& d : {out.d_image_BD, out.d_text_BD}) {
    d.mul_(scale / (2.0 * static_cast<double>(B)));
  }
  return out;
}

TEST(LossTiers, ArithmeticOfGpusIsCloseToDouble) {
  // The reference is t0 in double: like t1 it never subtracts nearly equal numbers, so it keeps its
  // digits where the loss is tiny. It agrees with the plain oracle (loss_test).
  for (const auto& [closeness, scale] : {std::pair{0.2, 14.3}, {0.4, 50.0}, {0.5, 100.0}}) {
    SCOPED_TRACE(str("scale ", scale));
    const oracle::Features f = oracle::features(384, 128, closeness, 17);
    const auto rounded = [](const at::Tensor& x) { return x.to(at::kBFloat16).to(at::kFloat); };
    const LossInput in =
        oracle::input_of({rounded(f.image_BD), rounded(f.text_BD)}, scale, at::kFloat);
    LossInput exact = oracle::input_of({in.image_BD, in.text_BD}, scale);
    exact.logit_scale = in.logit_scale.exp().to(at::kDouble).log();
    const LossOutput got = emulate(in, 256), want = run(exact, LossTier::t0);
    EXPECT_LT(oracle::distance(got.loss, want.loss), 1e-5);
    EXPECT_LT(oracle::distance(got.d_image_BD, want.d_image_BD), 3e-3);
    EXPECT_LT(oracle::distance(got.d_text_BD, want.d_text_BD), 3e-3);
    EXPECT_LT(oracle::distance(got.d_logit_scale, want.d_logit_scale), 1e-4);
  }
}

}  // namespace
}  // namespace plumbline
