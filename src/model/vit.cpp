// Vision Transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) as CLIP uses it.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/philox.h"
#include "model/image_tower.h"
#include "model/transformer.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// Which patches of the sample at `position` stay: the `keep` smallest of N random keys, ascending.
std::vector<std::int64_t> kept_patches(std::uint64_t seed, std::uint64_t position, std::int64_t n,
                                       std::int64_t keep) {
  const std::uint64_t stream = derive(seed, Purpose::patch_dropout, position);
  std::vector<std::uint64_t> key(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < key.size(); ++i) {
    const Words w = draw(stream, static_cast<std::uint32_t>(i));
    key[i] = join(w[0], w[1]);
  }
  std::vector<std::int64_t> order(key.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::nth_element(order.begin(), order.begin() + keep - 1, order.end(),
                   [&](std::int64_t a, std::int64_t b) {
                     return key[static_cast<std::size_t>(a)] < key[static_cast<std::size_t>(b)];
                   });
  order.resize(static_cast<std::size_t>(keep));
  std::sort(order.begin(), order.end());
  return order;
}

class Vit final : public ImageTower {
 public:
  Vit(Weights& weights, const VisionOptions& options, std::int64_t embed_dim);
  at::Tensor forward(const at::Tensor& pixels_BCHW, bool training,
                     const PassOptions& pass) override;

 private:
  [[nodiscard]] at::Tensor embed(const at::Tensor& pixels_BCHW) const;
  [[nodiscard]] at::Tensor drop_patches(const at::Tensor& x_BNw, const PassOptions& pass) const;
  [[nodiscard]] at::Tensor pool_average(const at::Tensor& x_BNw) const;

  VisionOptions options_;
  at::Tensor class_embedding_, positional_embedding_, proj_, conv1_;
  LayerNorm ln_pre_, ln_post_;
  Transformer transformer_;
};

Vit::Vit(Weights& weights, const VisionOptions& options, std::int64_t embed_dim)
    : options_(options) {
  const std::int64_t w = options.width;
  const std::int64_t p = options.patch_size;
  const std::int64_t mlp = static_cast<std::int64_t>(static_cast<double>(w) * options.mlp_ratio);
  const std::int64_t patches = (options.image_height / p) * (options.image_width / p);
  const Init embedding = normal(1.0 / std::sqrt(static_cast<double>(w)));
  class_embedding_ = weights.parameter("visual.class_embedding", {w}, embedding);
  positional_embedding_ =
      weights.parameter("visual.positional_embedding", {patches + 1, w}, embedding);
  proj_ = weights.parameter("visual.proj", {w, embed_dim}, embedding);
  conv1_ = weights.parameter("visual.conv1.weight", {w, 3, p, p}, torch_default(3 * p * p));
  if (!options.no_ln_pre) {
    ln_pre_ = declare_layer_norm(weights, "visual.ln_pre", w, options.norm_eps);
  }
  const Init xavier = uniform(std::sqrt(6.0 / (4.0 * static_cast<double>(w))));
  transformer_ = declare_transformer(
      weights, "visual.transformer",
      {w, options.layers, w / options.head_width, mlp, activation_of(options.activation),
       options.norm_eps, options.ls_init_value, false},
      {xavier, torch_default(w), torch_default(w), torch_default(w), torch_default(mlp),
       torch_default(mlp)});
  ln_post_ = declare_layer_norm(weights, "visual.ln_post", w, options.norm_eps);
}

/// [B, 1 + N, w]: the class token and the patches, each with its position.
at::Tensor Vit::embed(const at::Tensor& pixels_BCHW) const {
  const std::int64_t w = options_.width;
  const std::int64_t rows = pixels_BCHW.size(0);
  const at::Tensor patches =
      at::linear(patches_of(pixels_BCHW, options_.patch_size), conv1_.view({w, -1}));
  const at::Tensor first = class_embedding_ + positional_embedding_.select(0, 0);
  const at::Tensor rest = positional_embedding_.narrow(0, 1, positional_embedding_.size(0) - 1);
  return at::cat({first.expand({rows, 1, w}), patches.view({rows, -1, w}) + rest}, 1);
}

/// The class token and max(1, int(N (1 - p))) random patches (Li et al. 2022, arXiv:2212.00794).
at::Tensor Vit::drop_patches(const at::Tensor& x_BNw, const PassOptions& pass) const {
  const std::int64_t rows = x_BNw.size(0);
  const std::int64_t n = x_BNw.size(1) - 1;
  if (std::ssize(pass.dropout_positions) != rows) {
    throw InternalError(str("patch dropout needs the position of each of ", rows,
                            " rows in pass.dropout_positions, it has ",
                            pass.dropout_positions.size()));
  }
  const auto keep = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(static_cast<double>(n) * (1.0 - options_.patch_dropout)));
  std::vector<std::int64_t> index;
  index.reserve(static_cast<std::size_t>(rows * (keep + 1)));
  for (std::int64_t b = 0; b < rows; ++b) {
    const std::int64_t first = b * (n + 1);
    index.push_back(first);
    for (const std::int64_t patch : kept_patches(
             pass.dropout_seed, pass.dropout_positions[static_cast<std::size_t>(b)], n, keep)) {
      index.push_back(first + 1 + patch);
    }
  }
  const at::Tensor kept = at::tensor(index, at::kLong).to(x_BNw.device());
  return x_BNw.flatten(0, 1).index_select(0, kept).view({rows, keep + 1, -1});
}

at::Tensor Vit::pool_average(const at::Tensor& x_BNw) const {
  const at::Tensor patches = x_BNw.narrow(1, 1, x_BNw.size(1) - 1);
  if (options_.final_ln_after_pool) return ln_post_(patches.mean(1));
  return ln_post_(patches).mean(1);
}

at::Tensor Vit::forward(const at::Tensor& pixels_BCHW, bool training, const PassOptions& pass) {
  at::Tensor x = embed(pixels_BCHW);
  if (training && options_.patch_dropout > 0) x = drop_patches(x, pass);
  if (!options_.no_ln_pre) x = ln_pre_(x);
  const std::int64_t rows = x.size(0);
  const std::int64_t tokens = x.size(1);
  const Packing dense{rows, tokens, {}};
  x = x.view({rows * tokens, -1});
  if (options_.pool_type == "avg") {
    return at::mm(pool_average(transformer_.run(x, dense).view({rows, tokens, -1})), proj_);
  }
  // The class token alone is normalised: ln_post treats each token by itself.
  const at::Tensor class_rows =
      at::arange(0, rows * tokens, tokens, at::device(x.device()).dtype(at::kLong));
  const at::Tensor pooled =
      transformer_.run_pooled(x, dense, class_rows, {}, pass.prune_last_block);
  return at::mm(ln_post_(pooled), proj_);
}

}  // namespace

at::Tensor patches_of(const at::Tensor& pixels_BCHW, std::int64_t patch) {
  const std::int64_t rows = pixels_BCHW.size(0);
  const std::int64_t down = pixels_BCHW.size(2) / patch;
  const std::int64_t across = pixels_BCHW.size(3) / patch;
  return pixels_BCHW.narrow(2, 0, down * patch)
      .narrow(3, 0, across * patch)
      .reshape({rows, 3, down, patch, across, patch})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({rows * down * across, 3 * patch * patch});
}

std::unique_ptr<ImageTower> declare_vit(Weights& weights, const VisionOptions& options,
                                        std::int64_t embed_dim) {
  return std::make_unique<Vit>(weights, options, embed_dim);
}

}  // namespace plumbline
