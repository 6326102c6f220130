// A model and a tokenizer small enough to compute by hand.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plumbline/model.h"
#include "plumbline/tokenizer.h"

namespace plumbline::test {

/// Images and texts go through one linear map each. Dropout and batch norm are there to betray a
/// model that is not in eval mode.
class FakeModel final : public ClipModel {
 public:
  FakeModel(int side, int context_length, int embed_dim) {
    const at::Tensor image = torch::arange(side * side * 3 * embed_dim, torch::kFloat);
    const at::Tensor text = torch::arange(256 * embed_dim, torch::kFloat);
    image_ = register_parameter("image", torch::sin(image * 12.9898F).view({-1, embed_dim}));
    text_ = register_parameter("text", torch::sin(text * 78.233F).view({256, embed_dim}));
    scale_ = register_parameter("logit_scale", torch::zeros({}));
    dropout_ = register_module("dropout", torch::nn::Dropout(0.5));
    norm_ = register_module("norm", torch::nn::BatchNorm1d(embed_dim));
    options_.embed_dim = embed_dim;
    options_.text.context_length = context_length;
  }
  at::Tensor encode_image(const at::Tensor& pixels_BCHW, bool normalize) override {
    largest_batch = std::max(largest_batch, pixels_BCHW.size(0));
    const at::Tensor features = norm_(dropout_(pixels_BCHW.flatten(1).matmul(image_)));
    return normalize ? torch::nn::functional::normalize(features) : features;
  }
  at::Tensor encode_text(const at::Tensor& tokens_BL, bool normalize) override {
    texts_seen += tokens_BL.size(0);
    const at::Tensor features =
        dropout_(torch::embedding(text_, tokens_BL.to(torch::kLong)).sum(1));
    return normalize ? torch::nn::functional::normalize(features) : features;
  }
  at::Tensor& logit_scale() override { return scale_; }
  at::Tensor& logit_bias() override { return bias_; }
  [[nodiscard]] const ModelOptions& options() const override { return options_; }
  /// From now on a classifier; row c of its head is row c of the text map.
  void classify(std::vector<std::string> names) { options_.class_names = std::move(names); }
  at::Tensor class_logits(const at::Tensor& image_BD) override {
    return image_BD.matmul(text_.narrow(0, 0, std::ssize(options_.class_names)).t());
  }

  torch::nn::BatchNorm1d norm_ = nullptr;
  torch::nn::Dropout dropout_ = nullptr;
  std::int64_t largest_batch = 0;
  std::int64_t texts_seen = 0;

 private:
  at::Tensor image_, text_, scale_, bias_;
  ModelOptions options_;
};

/// Bytes are ids; refuses byte 255.
class ByteTokenizer final : public Tokenizer {
 public:
  [[nodiscard]] int context_length() const override { return 24; }
  [[nodiscard]] int vocab_size() const override { return 256; }
  int encode(std::string_view caption, std::span<std::int32_t> ids_L) const override {
    for (std::size_t i = 0; i < ids_L.size(); ++i) {
      const auto byte = i < caption.size() ? static_cast<unsigned char>(caption[i]) : 0;
      if (byte == 255) throw std::invalid_argument("not UTF-8");
      ids_L[i] = byte;
    }
    return static_cast<int>(caption.size());
  }
};

}  // namespace plumbline::test
