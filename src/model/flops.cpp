// Standard forward FLOPs of a model, multiply-add = 2: what throughput is divided by for MFU.
#include "plumbline/model.h"

namespace plumbline {
namespace {

/// Blocks over n tokens: projections 8 d^2, scores and mixing 4 n d, MLP 4 d m, each a token.
double transformer_flops(double layers, double n, double d, double mlp) {
  return layers * n * (8 * d * d + 4 * n * d + 4 * d * mlp);
}

double mlp_width(int width, double ratio) { return static_cast<int>(width * ratio); }

double vit_flops(const VisionOptions& v, double embed_dim) {
  const double d = v.width;
  const double p = v.patch_size;
  const double patches = (v.image_height / v.patch_size) * (v.image_width / v.patch_size);
  const double mlp = mlp_width(v.width, v.mlp_ratio);
  const double embed = patches * 6 * p * p * d;
  if (v.siglip_trunk.empty()) {
    return embed + transformer_flops(v.layers, patches + 1, d, mlp) + 2 * d * embed_dim;
  }
  // Pooling: k, v of all tokens; q, projection, scores and MLP of the one query.
  const double pool = patches * 4 * d * d + 4 * d * d + 4 * patches * d + 4 * d * mlp;
  return embed + transformer_flops(v.layers, patches, d, mlp) + pool;
}

/// A convolution with `side` x `side` outputs.
double conv_flops(double side, double in, double out, double size) {
  return 2 * side * side * in * out * size * size;
}

double resnet_flops(const VisionOptions& v, double embed_dim) {
  const double w = v.width;
  double side = v.image_height / 2.0;
  double total = conv_flops(side, 3, w / 2, 3) + conv_flops(side, w / 2, w / 2, 3) +
                 conv_flops(side, w / 2, w, 3);
  side /= 2;
  double in = w;
  for (std::size_t stage = 0; stage < 4; ++stage) {
    const double planes = w * static_cast<double>(1 << stage);
    for (int j = 0; j < v.resnet_layers[stage]; ++j) {
      const bool halves = stage > 0 && j == 0;
      total += conv_flops(side, in, planes, 1) + conv_flops(side, planes, planes, 3);
      if (halves) side /= 2;
      total += conv_flops(side, planes, 4 * planes, 1);
      if (j == 0) total += conv_flops(side, in, 4 * planes, 1);
      in = 4 * planes;
    }
  }
  // OpenCLIP's pooling computes q and the projection for every token; ours for the one that counts.
  const double tokens = side * side + 1;
  return total + tokens * (6 * in * in + 4 * tokens * in + 2 * in * embed_dim);
}

}  // namespace

double forward_flops(const ModelOptions& options) {
  const VisionOptions& v = options.vision;
  const TextOptions& t = options.text;
  const double image = v.resnet_layers.empty() ? vit_flops(v, options.embed_dim)
                                               : resnet_flops(v, options.embed_dim);
  if (!options.class_names.empty()) {
    return image + 2.0 * options.embed_dim * static_cast<double>(options.class_names.size());
  }
  const double project = t.proj_type == "none" ? 0.0 : 2.0 * t.width * options.embed_dim;
  return image + project +
         transformer_flops(t.layers, t.context_length, t.width, mlp_width(t.width, t.mlp_ratio));
}

}  // namespace plumbline
