// ModifiedResNet of CLIP (Radford et al. 2021, section 2.4): three stem convolutions, average pools
// in place of strides, and attention pooling in place of the mean. Activations are NCHW:
// channels-last was measured 3 % slower on the CPU (width 24, 64 pixels, two threads).
#include <cmath>

#include "model/image_tower.h"
#include "model/transformer.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr double kBatchNormEps = 1e-5;
constexpr double kBatchNormMomentum = 0.1;

/// Convolution without bias, then batch normalisation.
struct ConvNorm {
  at::Tensor conv;
  at::Tensor weight, bias, running_mean, running_var, batches_tracked;
  std::int64_t stride = 1;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x, bool training, bool update) const {
    const std::int64_t padding = conv.size(2) / 2;
    const at::Tensor y =
        at::conv2d(x, conv, {}, at::IntArrayRef{stride, stride}, at::IntArrayRef{padding, padding});
    if (training && update) {
      const at::NoGradGuard no_grad;
      at::Tensor(batches_tracked).add_(1);
    }
    // In training without running tensors the batch's own statistics are used and none is kept.
    const bool keep = !training || update;
    return at::batch_norm(y, weight, bias, keep ? running_mean : at::Tensor(),
                          keep ? running_var : at::Tensor(), training, kBatchNormMomentum,
                          kBatchNormEps, false);
  }
};

ConvNorm declare_conv_norm(Weights& weights, const std::string& conv, const std::string& norm,
                           std::int64_t in, std::int64_t out, std::int64_t size,
                           std::int64_t stride = 1, double norm_weight = 1) {
  ConvNorm c;
  c.conv =
      weights.parameter(conv + ".weight", {out, in, size, size}, torch_default(in * size * size));
  c.weight = weights.parameter(norm + ".weight", {out}, constant(norm_weight));
  c.bias = weights.parameter(norm + ".bias", {out}, constant(0));
  c.running_mean = weights.buffer(norm + ".running_mean", {out}, constant(0));
  c.running_var = weights.buffer(norm + ".running_var", {out}, constant(1));
  c.batches_tracked = weights.buffer(norm + ".num_batches_tracked", {}, constant(0), at::kLong);
  c.stride = stride;
  return c;
}

at::Tensor average_pool(const at::Tensor& x, std::int64_t size) {
  return size > 1 ? at::avg_pool2d(x, {size, size}) : x;
}

struct Bottleneck {
  ConvNorm first, second, third, downsample;  ///< downsample.conv undefined: identity
  std::int64_t stride = 1;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x, bool training, bool update) const {
    at::Tensor y = first(x, training, update).relu_();
    y = second(y, training, update).relu_();
    y = third(average_pool(y, stride), training, update);
    const at::Tensor identity =
        downsample.conv.defined() ? downsample(average_pool(x, stride), training, update) : x;
    return y.add_(identity).relu_();
  }
};

Bottleneck declare_bottleneck(Weights& weights, const std::string& prefix, std::int64_t in,
                              std::int64_t planes, std::int64_t stride) {
  Bottleneck block;
  block.stride = stride;
  block.first = declare_conv_norm(weights, prefix + "conv1", prefix + "bn1", in, planes, 1);
  block.second = declare_conv_norm(weights, prefix + "conv2", prefix + "bn2", planes, planes, 3);
  // A zero bn3.weight makes each block start as the identity.
  block.third =
      declare_conv_norm(weights, prefix + "conv3", prefix + "bn3", planes, 4 * planes, 1, 1, 0);
  if (stride > 1 || in != 4 * planes) {
    block.downsample = declare_conv_norm(weights, prefix + "downsample.0", prefix + "downsample.1",
                                         in, 4 * planes, 1);
  }
  return block;
}

/// Attention whose one query is the mean token; only its output is computed.
struct AttentionPool {
  at::Tensor positional_embedding;
  Linear k_proj, q_proj, v_proj, c_proj;
  std::int64_t heads = 0;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x_BCHW) const {
    const at::Tensor grid = x_BCHW.flatten(2).transpose(1, 2);
    const at::Tensor x = at::cat({grid.mean(1, true), grid}, 1) + positional_embedding;
    const std::int64_t rows = x.size(0);
    const std::int64_t channels = x.size(2);
    const auto by_head = [&](const at::Tensor& t) {
      return t.view({rows, -1, heads, channels / heads}).transpose(1, 2);
    };
    const at::Tensor flat = x.view({-1, channels});
    const at::Tensor mixed = at::scaled_dot_product_attention(
        by_head(q_proj(x.select(1, 0))), by_head(k_proj(flat)), by_head(v_proj(flat)));
    return c_proj(mixed.transpose(1, 2).reshape({rows, channels}));
  }
};

AttentionPool declare_attention_pool(Weights& weights, std::int64_t side, std::int64_t channels,
                                     std::int64_t heads, std::int64_t embed_dim) {
  const Init weight = normal(1.0 / std::sqrt(static_cast<double>(channels)));
  const std::string prefix = "visual.attnpool.";
  AttentionPool pool;
  pool.heads = heads;
  pool.positional_embedding =
      weights.parameter(prefix + "positional_embedding", {side * side + 1, channels}, weight);
  const auto linear = [&](const char* name, std::int64_t out) {
    return declare_linear(weights, prefix + name, channels, out, weight, torch_default(channels));
  };
  pool.k_proj = linear("k_proj", channels);
  pool.q_proj = linear("q_proj", channels);
  pool.v_proj = linear("v_proj", channels);
  pool.c_proj = linear("c_proj", embed_dim);
  return pool;
}

class ModifiedResNet final : public ImageTower {
 public:
  ModifiedResNet(Weights& weights, const VisionOptions& options, std::int64_t embed_dim) {
    const std::int64_t w = options.width;
    stem_.push_back(declare_conv_norm(weights, "visual.conv1", "visual.bn1", 3, w / 2, 3, 2));
    stem_.push_back(declare_conv_norm(weights, "visual.conv2", "visual.bn2", w / 2, w / 2, 3));
    stem_.push_back(declare_conv_norm(weights, "visual.conv3", "visual.bn3", w / 2, w, 3));
    std::int64_t in = w;
    for (std::size_t stage = 0; stage < 4; ++stage) {
      const std::int64_t planes = w << stage;
      for (int j = 0; j < options.resnet_layers[stage]; ++j) {
        const std::int64_t stride = stage > 0 && j == 0 ? 2 : 1;
        blocks_.push_back(declare_bottleneck(weights, str("visual.layer", stage + 1, ".", j, "."),
                                             in, planes, stride));
        in = 4 * planes;
      }
    }
    pool_ = declare_attention_pool(weights, options.image_height / 32, 32 * w,
                                   32 * w / options.head_width, embed_dim);
  }

  at::Tensor forward(const at::Tensor& pixels_BCHW, bool training,
                     const PassOptions& pass) override {
    const bool update = pass.update_running_stats;
    at::Tensor x = pixels_BCHW;
    for (const ConvNorm& conv : stem_) x = conv(x, training, update).relu_();
    x = average_pool(x, 2);
    for (const Bottleneck& block : blocks_) x = block(x, training, update);
    return pool_(x);
  }

 private:
  std::vector<ConvNorm> stem_;
  std::vector<Bottleneck> blocks_;
  AttentionPool pool_;
};

}  // namespace

std::unique_ptr<ImageTower> declare_resnet(Weights& weights, const VisionOptions& options,
                                           std::int64_t embed_dim) {
  return std::make_unique<ModifiedResNet>(weights, options, embed_dim);
}

}  // namespace plumbline
