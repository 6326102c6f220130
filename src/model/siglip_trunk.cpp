// The ViT of SigLIP under timm's names (Zhai et al. 2023, arXiv:2303.15343): patches with bias, no
// class token, and multihead attention pooling by one learned query.
#include <cmath>

#include "model/image_tower.h"
#include "model/transformer.h"

namespace plumbline {
namespace {

/// One latent query attends to all tokens; then x += mlp(norm x).
struct MapPool {
  at::Tensor latent;  ///< [1, 1, C]
  Linear q, kv, proj, fc1, fc2;
  LayerNorm norm;
};

class SiglipTrunk final : public ImageTower {
 public:
  SiglipTrunk(Weights& weights, const VisionOptions& options);
  at::Tensor forward(const at::Tensor& pixels_BCHW, bool training,
                     const PassOptions& pass) override;

 private:
  [[nodiscard]] at::Tensor pool(const at::Tensor& x_TD, std::int64_t rows) const;

  VisionOptions options_;
  at::Tensor pos_embed_;
  Linear patch_embed_;
  Transformer transformer_;
  LayerNorm norm_;
  MapPool pool_;
};

MapPool declare_map_pool(Weights& weights, std::int64_t w, std::int64_t mlp, double eps) {
  const std::string prefix = "visual.trunk.attn_pool.";
  const Init init = normal(0.02);
  const auto linear = [&](const char* name, std::int64_t in, std::int64_t out) {
    return declare_linear(weights, prefix + name, in, out, init, constant(0));
  };
  MapPool pool;
  pool.latent =
      weights.parameter(prefix + "latent", {1, 1, w},
                        {Init::Kind::truncated_normal, 1.0 / std::sqrt(static_cast<double>(w))});
  pool.q = linear("q", w, w);
  pool.kv = linear("kv", w, 2 * w);
  pool.proj = linear("proj", w, w);
  pool.norm = declare_layer_norm(weights, prefix + "norm", w, eps);
  pool.fc1 = linear("mlp.fc1", w, mlp);
  pool.fc2 = linear("mlp.fc2", mlp, w);
  return pool;
}

SiglipTrunk::SiglipTrunk(Weights& weights, const VisionOptions& options) : options_(options) {
  const std::int64_t w = options.width;
  const std::int64_t p = options.patch_size;
  const std::int64_t mlp = static_cast<std::int64_t>(static_cast<double>(w) * options.mlp_ratio);
  const std::int64_t patches = (options.image_height / p) * (options.image_width / p);
  const Init init = normal(0.02);
  pos_embed_ = weights.parameter("visual.trunk.pos_embed", {1, patches, w}, init);
  patch_embed_.weight = weights.parameter("visual.trunk.patch_embed.proj.weight", {w, 3, p, p},
                                          torch_default(3 * p * p));
  patch_embed_.bias =
      weights.parameter("visual.trunk.patch_embed.proj.bias", {w}, torch_default(3 * p * p));
  transformer_ = declare_timm_blocks(
      weights, "visual.trunk",
      {w, options.layers, w / options.head_width, mlp, activation_of(options.activation),
       options.norm_eps, std::nullopt, false},
      {init, init, init, constant(0), init, constant(0)});
  norm_ = declare_layer_norm(weights, "visual.trunk.norm", w, options.norm_eps);
  pool_ = declare_map_pool(weights, w, mlp, options.norm_eps);
}

at::Tensor SiglipTrunk::pool(const at::Tensor& x_TD, std::int64_t rows) const {
  const std::int64_t w = options_.width;
  const std::int64_t head_dim = options_.head_width;
  const std::int64_t heads = w / head_dim;
  const std::vector<at::Tensor> kv = pool_.kv(x_TD).view({rows, -1, 2, heads, head_dim}).unbind(2);
  const at::Tensor query = pool_.q(pool_.latent.view({1, w})).view({1, heads, 1, head_dim});
  const at::Tensor mixed = at::scaled_dot_product_attention(
      query.expand({rows, heads, 1, head_dim}), kv[0].transpose(1, 2), kv[1].transpose(1, 2));
  const at::Tensor x = pool_.proj(mixed.reshape({rows, w}));
  return x + pool_.fc2(activate(pool_.fc1(pool_.norm(x)), activation_of(options_.activation)));
}

at::Tensor SiglipTrunk::forward(const at::Tensor& pixels_BCHW, bool /*training*/,
                                const PassOptions& /*pass*/) {
  const std::int64_t w = options_.width;
  const std::int64_t rows = pixels_BCHW.size(0);
  const at::Tensor patches = at::linear(patches_of(pixels_BCHW, options_.patch_size),
                                        patch_embed_.weight.view({w, -1}), patch_embed_.bias);
  const at::Tensor x = patches.view({rows, -1, w}) + pos_embed_;
  const Packing dense{rows, x.size(1), {}};
  return pool(norm_(transformer_.run(x.view({-1, w}), dense)), rows);
}

}  // namespace

std::unique_ptr<ImageTower> declare_siglip_trunk(Weights& weights, const VisionOptions& options) {
  return std::make_unique<SiglipTrunk>(weights, options);
}

}  // namespace plumbline
