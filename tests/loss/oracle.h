// The losses as plainly as papers write them, with autograd's gradients, and features to try.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <utility>
#include <vector>

#include "plumbline/loss.h"

namespace plumbline::oracle {

struct Features {
  at::Tensor image_BD, text_BD;
};

/// Unit rows in double. `closeness` 0: independent; 1: text = image.
[[nodiscard]] inline Features features(std::int64_t rows, std::int64_t width, double closeness,
                                       std::uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const auto unit = [](const at::Tensor& x) { return x / x.norm(2, {1}, true); };
  const at::Tensor image = unit(at::randn({rows, width}, generator, options));
  const at::Tensor noise = unit(at::randn({rows, width}, generator, options));
  return {image, unit(closeness * image + (1 - closeness) * noise)};
}

[[nodiscard]] inline at::Tensor clip(const at::Tensor& image, const at::Tensor& text,
                                     const at::Tensor& t, const at::Tensor& /*bias*/) {
  const at::Tensor logits = t.exp() * at::mm(image, text.t());
  const at::Tensor target = at::arange(image.size(0), at::kLong);
  return (at::cross_entropy_loss(logits, target) + at::cross_entropy_loss(logits.t(), target)) / 2;
}

[[nodiscard]] inline at::Tensor siglip(const at::Tensor& image, const at::Tensor& text,
                                       const at::Tensor& t, const at::Tensor& bias) {
  const at::Tensor logits = t.exp() * at::mm(image, text.t()) + bias;
  const at::Tensor y = 2 * at::eye(image.size(0), logits.options()) - 1;
  return -at::log_sigmoid(y * logits).sum() / image.size(0);
}

[[nodiscard]] inline at::Tensor ntxent(const at::Tensor& a, const at::Tensor& b,
                                       const at::Tensor& t, const at::Tensor& /*bias*/) {
  const std::int64_t n = a.size(0);
  const at::Tensor own = at::eye(n, a.options()) * 1e9;
  const at::Tensor s = t.exp();
  const at::Tensor ab = s * at::mm(a, b.t());
  const at::Tensor target = at::arange(n, at::kLong);
  const at::Tensor logits_a = at::cat({ab, s * at::mm(a, a.t()) - own}, 1);
  const at::Tensor logits_b = at::cat({ab.t(), s * at::mm(b, b.t()) - own}, 1);
  return at::cross_entropy_loss(logits_a, target) + at::cross_entropy_loss(logits_b, target);
}

using Formula = at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                               const at::Tensor&);

/// Value and autograd gradients of `formula` in the type of the features.
[[nodiscard]] inline LossOutput evaluate(Formula formula, const LossInput& input) {
  const auto leaf = [](const at::Tensor& x) { return x.detach().clone().requires_grad_(); };
  const at::Tensor image = leaf(input.image_BD), text = leaf(input.text_BD);
  const at::Tensor t = leaf(input.logit_scale);
  const at::Tensor bias =
      leaf(input.logit_bias.defined() ? input.logit_bias : at::zeros({}, image.options()));
  const at::Tensor loss = formula(image, text, t, bias);
  loss.backward();
  return {loss.detach(), image.grad(), text.grad(), t.grad(), bias.grad()};
}

[[nodiscard]] inline LossInput input_of(const Features& f, double scale,
                                        at::ScalarType type = at::kDouble) {
  LossInput input;
  input.image_BD = f.image_BD.to(type);
  input.text_BD = f.text_BD.to(type);
  input.logit_scale = at::scalar_tensor(std::log(scale), at::TensorOptions().dtype(type));
  input.max_logit_scale = 200;
  return input;
}

/// |a - b| / |b|, Frobenius.
[[nodiscard]] inline double distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  return (x - y).norm().item<double>() / std::max(y.norm().item<double>(), 1e-300);
}

}  // namespace plumbline::oracle
