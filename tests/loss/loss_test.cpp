// Each loss on one rank: against autograd of the plain formula, central differences, and where the
// plain formula loses its digits.
#include <gtest/gtest.h>

#include "oracle.h"
#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using oracle::distance;

struct Case {
  const char* kind;
  oracle::Formula formula;
  double scale;
  double bias;
};

const Case kCases[] = {{"clip", oracle::clip, 14.3, 0},     {"clip", oracle::clip, 100, 0},
                       {"siglip", oracle::siglip, 10, -10}, {"siglip", oracle::siglip, 100, -20},
                       {"ntxent", oracle::ntxent, 10, 0},   {"ntxent", oracle::ntxent, 100, 0}};

/// One loss at one scale; every TEST below visits them all.
struct Subject : Case {
  [[nodiscard]] LossInput input(double closeness, at::ScalarType type = at::kDouble) const {
    LossInput in = oracle::input_of(oracle::features(13, 24, closeness, 7), scale, type);
    if (bias != 0) in.logit_bias = at::scalar_tensor(bias, at::TensorOptions().dtype(type));
    return in;
  }
  [[nodiscard]] LossOutput ours(const LossInput& in) const {
    return find_loss(kind)(in, *make_single_communicator());
  }
};

template <typename Body>
void for_each_loss(const Body& body) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(str(c.kind, " at scale ", c.scale));
    body(Subject{c});
  }
}

TEST(Losses, EqualAutogradOfThePlainFormula) {
  for_each_loss([](const Subject& loss) {
    for (const double closeness : {0.0, 0.4, 0.6}) {
      const LossInput in = loss.input(closeness);
      const LossOutput got = loss.ours(in), want = oracle::evaluate(loss.formula, in);
      EXPECT_NEAR(got.loss.item<double>(), want.loss.item<double>(),
                  1e-10 * std::max(1.0, want.loss.item<double>()));
      const auto close = [&](const at::Tensor& a, const at::Tensor& b, const char* name) {
        EXPECT_LT((a - b).abs().max().item<double>(), 1e-10) << name << " closeness " << closeness;
      };
      close(got.d_image_BD, want.d_image_BD, "image");
      close(got.d_text_BD, want.d_text_BD, "text");
      close(got.d_logit_scale, want.d_logit_scale, "scale");
      if (loss.bias != 0) close(got.d_logit_bias, want.d_logit_bias, "bias");
    }
  });
}

TEST(Losses, EqualCentralDifferences) {
  for_each_loss([](const Subject& loss) {
    const LossInput in = loss.input(0.3);
    const LossOutput got = loss.ours(in);
    constexpr double kStep = 1e-6;
    const auto slope = [&](const at::Tensor& x, std::int64_t i) {
      at::Tensor flat = x.view({-1});
      const double at = flat[i].item<double>();
      flat[i] = at + kStep;
      const double above = loss.ours(in).loss.item<double>();
      flat[i] = at - kStep;
      const double below = loss.ours(in).loss.item<double>();
      flat[i] = at;
      return (above - below) / (2 * kStep);
    };
    const auto check = [&](const at::Tensor& x, const at::Tensor& gradient, const char* name) {
      const double norm = gradient.abs().max().item<double>();
      for (std::int64_t i = 0; i < x.numel(); i += 17) {
        EXPECT_NEAR(slope(x, i), gradient.view({-1})[i].item<double>(), 1e-6 * norm + 1e-9)
            << name << " element " << i;
      }
    };
    check(in.image_BD, got.d_image_BD, "image");
    check(in.text_BD, got.d_text_BD, "text");
    check(in.logit_scale, got.d_logit_scale, "scale");
    if (loss.bias != 0) check(in.logit_bias, got.d_logit_bias, "bias");
  });
}

TEST(Losses, Float32EqualsDoubleOnTheSameFeatures) {
  for_each_loss([](const Subject& loss) {
    for (const double closeness : {0.0, 0.5, 1.0}) {
      const LossInput in = loss.input(closeness, at::kFloat);
      LossInput exact = in;
      for (at::Tensor* x : {&exact.image_BD, &exact.text_BD, &exact.logit_scale}) {
        *x = x->to(at::kDouble);
      }
      if (in.logit_bias.defined()) exact.logit_bias = in.logit_bias.to(at::kDouble);
      // s = float32 exp(t) in both.
      exact.logit_scale = in.logit_scale.exp().to(at::kDouble).log();
      const LossOutput got = loss.ours(in), want = loss.ours(exact);
      EXPECT_LT(distance(got.loss, want.loss), 1e-5);
      EXPECT_LT(distance(got.d_image_BD, want.d_image_BD), 1e-5) << closeness;
      EXPECT_LT(distance(got.d_text_BD, want.d_text_BD), 1e-5) << closeness;
      EXPECT_EQ(got.d_image_BD.scalar_type(), at::kFloat);
    }
  });
}

TEST(Losses, ValueIsClampedAndTheGradientPasses) {
  for_each_loss([](const Subject& loss) {
    LossInput in = loss.input(0.3);
    in.max_logit_scale = loss.scale / 2;
    const LossOutput got = loss.ours(in);
    LossInput half = in;
    half.logit_scale = in.logit_scale - std::log(2.0);
    half.max_logit_scale = 200;
    const LossOutput want = loss.ours(half);
    EXPECT_NEAR(got.loss.item<double>(), want.loss.item<double>(), 1e-12);
    EXPECT_NEAR(got.d_logit_scale.item<double>(), want.d_logit_scale.item<double>(), 1e-12);
    EXPECT_NE(got.d_logit_scale.item<double>(), 0.0);
  });
}

TEST(Losses, KeepTheShapeOfTheScale) {
  for_each_loss([](const Subject& loss) {
    LossInput in = loss.input(0.3);
    in.logit_scale = in.logit_scale.view({1});
    EXPECT_EQ(loss.ours(in).d_logit_scale.sizes(), at::IntArrayRef({1}));
  });
}

TEST(ClipLoss, KeepsItsDigitsWhenOverFit) {
  // Orthogonal pairs at s = 80: every positive is at cos 1, every negative at 0, and the gradient
  // is of the order of exp(-80). The closed form: R = (n - 1) exp(-80) relative to p.
  constexpr std::int64_t kRows = 8;
  const at::Tensor eye = at::eye(kRows, at::kFloat);
  const LossInput in = oracle::input_of({eye, eye}, 80, at::kFloat);
  const double s = in.logit_scale.exp().item<double>();
  const LossOutput got = clip_loss(in, *make_single_communicator());
  const double negatives = (kRows - 1) * std::exp(-s);
  EXPECT_NEAR(got.loss.item<double>() / negatives, 1, 1e-4);
  // dI_ii = s/2B * -2 R u.
  const double diagonal = -s / kRows * negatives;
  EXPECT_NEAR(got.d_image_BD[0][0].item<double>() / diagonal, 1, 1e-4);
  EXPECT_NEAR(got.d_image_BD[0][1].item<double>() / (s / kRows * std::exp(-s)), 1, 1e-4);
}

TEST(ClipLoss, IdenticalRowsGiveLogN) {
  const at::Tensor row = oracle::features(1, 16, 1, 3).image_BD.expand({6, 16});
  const LossInput in = oracle::input_of({row, row}, 100, at::kFloat);
  const LossOutput got = clip_loss(in, *make_single_communicator());
  // Z = 100 cos in float32: each logit within 1e-5.
  EXPECT_NEAR(got.loss.item<double>(), std::log(6.0), 2e-5);
  EXPECT_LT(got.d_image_BD.norm().item<double>(), 1e-4);
}

TEST(ClipLoss, TakesTheMaximumWhenSumsUnderflow) {
  // Opposite features: every cosine is near -1, so exp(Z - 30) with Z near -100 is zero in float32.
  const at::Tensor base = oracle::features(1, 16, 1, 3).image_BD;
  const oracle::Features noise = oracle::features(7, 16, 0, 4);
  const auto unit = [](const at::Tensor& x) { return x / x.norm(2, {1}, true); };
  const LossInput in = oracle::input_of(
      {unit(base + 0.05 * noise.image_BD), unit(-base + 0.05 * noise.text_BD)}, 100, at::kFloat);
  LossInput exact = in;
  exact.image_BD = in.image_BD.to(at::kDouble);
  exact.text_BD = in.text_BD.to(at::kDouble);
  exact.logit_scale = in.logit_scale.exp().to(at::kDouble).log();
  const LossOutput got = clip_loss(in, *make_single_communicator());
  const LossOutput want = oracle::evaluate(oracle::clip, exact);
  EXPECT_LT(distance(got.loss, want.loss), 1e-5);
  EXPECT_LT(distance(got.d_image_BD, want.d_image_BD), 1e-4);  // logits near 100 in float32
  EXPECT_LT(distance(got.d_text_BD, want.d_text_BD), 1e-4);
}

TEST(ClipLoss, TakesTheMaximumWhenFeaturesAreNotUnit) {
  oracle::Features f = oracle::features(9, 12, 0.3, 5);
  f.image_BD = f.image_BD * 30;  // logits up to 3000 overflow exp even in double
  const LossInput in = oracle::input_of(f, 100);
  const LossOutput got = clip_loss(in, *make_single_communicator());
  const LossOutput want = oracle::evaluate(oracle::clip, in);
  EXPECT_LT(distance(got.loss, want.loss), 1e-10);
  EXPECT_LT(distance(got.d_image_BD, want.d_image_BD), 1e-10);
  EXPECT_LT(distance(got.d_text_BD, want.d_text_BD), 1e-10);
}

TEST(ClipLoss, NotANumberComesOut) {
  LossInput in = oracle::input_of(oracle::features(5, 8, 0.3, 5), 14.3, at::kFloat);
  in.image_BD[2][3] = NAN;
  EXPECT_TRUE(std::isnan(clip_loss(in, *make_single_communicator()).loss.item<double>()));
}

TEST(ClipLoss, ManyTilesEqualOne) {
  // 4 MB tiles: 1100 rows of float64 make tiles of 476 columns, the last one narrower.
  const LossInput in = oracle::input_of(oracle::features(1100, 8, 0.4, 9), 30);
  const LossOutput got = clip_loss(in, *make_single_communicator());
  const LossOutput want = oracle::evaluate(oracle::clip, in);
  EXPECT_LT(distance(got.loss, want.loss), 1e-12);
  EXPECT_LT(distance(got.d_image_BD, want.d_image_BD), 1e-10);
  EXPECT_LT(distance(got.d_text_BD, want.d_text_BD), 1e-10);
  EXPECT_NEAR(got.d_logit_scale.item<double>(), want.d_logit_scale.item<double>(), 1e-10);
}

TEST(FindLoss, ListsTheKnownNames) {
  EXPECT_EQ(find_loss("clip"), clip_loss);
  try {
    (void)find_loss("clap");
    FAIL() << "accepted an unknown loss";
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(),
                 "unknown loss 'clap' (known: clip, siglip, ntxent; of labels: cross_entropy)");
  }
}

}  // namespace
}  // namespace plumbline
