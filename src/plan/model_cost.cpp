// Legend: n tokens a sample, d width, m hidden width of the MLP, all per sample.
#include "plan/model_cost.h"

#include <algorithm>

namespace plumbline {
namespace {

/// Tokens of a tower: those the products see, those attention sees, those of the last block.
struct Tokens {
  double products = 0;
  double attention = 0;
  bool prune_last = false;
};

double block_flops(double n, double attended, double d, double m) {
  return n * (8 * d * d + 4 * d * m) + 4 * attended * attended * d;
}

/// The last block when one token is pooled: keys and values of all, the rest of one.
double pruned_block_flops(const Tokens& t, double d, double m) {
  return t.products * 4 * d * d + 4 * d * d + 4 * t.attention * d + 4 * d * m;
}

double blocks_flops(double layers, const Tokens& t, double d, double m) {
  const double block = block_flops(t.products, t.attention, d, m);
  if (!t.prune_last || layers < 1) return layers * block;
  return (layers - 1) * block + pruned_block_flops(t, d, m);
}

/// Kept for backward by one block: inputs of both layer norms (the residuals), their outputs, the
/// output of attention, both sides of the activation, for the tokens of the products; q, k, v and
/// their mix for those of attention, which a packed tower unpacks. QuickGELU keeps its sigmoid too.
double block_saved_bytes(const Tokens& t, double d, double m, bool quick, Activations a) {
  const double residual = 4;
  const double other = a == Activations::fp32 ? 4 : 2;
  const bool unpacked = t.attention != t.products;
  return t.products * (2 * d * residual + (2 * d + (quick ? 3 : 2) * m) * other) +
         t.attention * 4 * d * other + (unpacked ? t.products * d * other : 0);
}

/// Memory traffic of one block, forward and backward, that products do not hide: 180 d bytes a
/// token in autocast to bfloat16 at m = 4 d (layer norms in float32 with their casts, residual
/// sums, activation, splitting of heads, bias gradients), twice that in float32.
double block_traffic_bytes(double n, double d, double m, Activations a) {
  return n * (100 * d + 20 * m) * (a == Activations::fp32 ? 2 : 1);
}

void add_blocks(TowerCost& cost, double layers, const Tokens& t, double d, double m, bool quick,
                Activations a) {
  const double whole = t.prune_last ? layers - 1 : layers;
  cost.executed_flops += blocks_flops(layers, t, d, m);
  cost.saved_bytes += whole * block_saved_bytes(t, d, m, quick, a);
  cost.traffic_bytes += whole * block_traffic_bytes(t.products, d, m, a);
  if (t.prune_last) {  // one layer norm of all tokens, and k, v
    cost.saved_bytes += t.products * d * 8 + t.attention * 2 * d * 4;
    cost.traffic_bytes += 0.3 * block_traffic_bytes(t.products, d, m, a);
  }
  // Gradients of both sides of the activation, of the residual and of a layer norm's output.
  cost.scratch_bytes = t.products * (2 * m + 2 * d) * 4;
}

TowerCost vit_cost(const VitShape& v, Activations a) {
  const double d = v.width, m = v.mlp, patches = v.patches();
  const double kept = patches * (1 - v.patch_dropout);
  const double extra = v.attention_pool ? 0 : 1;
  const double embed = patches * 6.0 * v.patch * v.patch * d;
  const double head = v.attention_pool
                          ? patches * 4 * d * d + 4 * d * d + 4 * patches * d + 4 * d * m
                          : 2 * d * v.embed_dim;
  TowerCost cost;
  cost.standard_flops =
      embed + blocks_flops(v.layers, {patches + extra, patches + extra, false}, d, m) + head;
  cost.executed_flops = embed + head;
  const Tokens tokens{kept + extra, kept + extra, v.prune && !v.attention_pool};
  add_blocks(cost, v.layers, tokens, d, m, v.quick_gelu, a);
  const double pixels = 3.0 * v.image_height * v.image_width;
  // Bytes as loaded, the float32 picture, its copy for the products; embeddings before the blocks.
  cost.saved_bytes += pixels * (a == Activations::fp32 ? 5 : 7) + 2 * patches * d * 4;
  cost.traffic_bytes += pixels * 10 + 6 * patches * d * 4;
  return cost;
}

/// Adds a convolution with side x side outputs, its batch norm and its ReLU.
struct ConvSum {
  double flops = 0, outputs = 0, largest = 0;
  void add(double side, double in, double out, double size) {
    flops += 2 * side * side * in * out * size * size;
    outputs += side * side * out;
    largest = std::max(largest, side * side * out);
  }
};

TowerCost resnet_cost(const ResnetShape& r, Activations a) {
  const double w = r.width;
  double side = r.image / 2.0;
  ConvSum conv;
  conv.add(side, 3, w / 2, 3);
  conv.add(side, w / 2, w / 2, 3);
  conv.add(side, w / 2, w, 3);
  side /= 2;
  double in = w;
  for (std::size_t stage = 0; stage < 4; ++stage) {
    const double planes = w * static_cast<double>(1 << stage);
    for (int j = 0; j < r.layers[stage]; ++j) {
      conv.add(side, in, planes, 1);
      conv.add(side, planes, planes, 3);
      if (stage > 0 && j == 0) side /= 2;
      conv.add(side, planes, 4 * planes, 1);
      if (j == 0) conv.add(side, in, 4 * planes, 1);
      in = 4 * planes;
    }
  }
  const double tokens = side * side + 1;
  const double element = a == Activations::fp32 ? 4 : 2;
  TowerCost cost;
  // OpenCLIP's pooling projects every token; here the one that counts.
  cost.standard_flops =
      conv.flops + tokens * (6 * in * in + 4 * tokens * in + 2 * in * r.embed_dim);
  cost.executed_flops =
      conv.flops + tokens * 4 * in * in + 2 * in * in + 4 * tokens * in + 2 * in * r.embed_dim;
  // A convolution's output, for batch norm, and what ReLU makes of it, for the next one.
  cost.saved_bytes = 2 * conv.outputs * element + 3.0 * r.image * r.image * 5;
  cost.scratch_bytes = 3 * conv.largest * element;
  // Forward: written, read twice and written by batch norm, read and written by ReLU; twice that
  // backward.
  cost.traffic_bytes = 18 * conv.outputs * element;
  return cost;
}

}  // namespace

double VitShape::patches() const {
  return static_cast<double>(image_height / patch) * static_cast<double>(image_width / patch);
}

double ModelShape::parameters() const {
  return image_parameters + text_parameters + other_parameters;
}

double ModelShape::trained_parameters() const {
  return (image_trained ? image_parameters : 0) + (text_trained ? text_parameters : 0) +
         other_parameters;
}

int ModelShape::embed_dim() const {
  return std::visit([](const auto& tower) { return tower.embed_dim; }, image);
}

TowerCost image_cost(const ModelShape& model, Activations activations) {
  const auto* vit = std::get_if<VitShape>(&model.image);
  TowerCost cost = vit != nullptr ? vit_cost(*vit, activations)
                                  : resnet_cost(std::get<ResnetShape>(model.image), activations);
  const double head = 2.0 * model.embed_dim() * model.classes;
  cost.standard_flops += head;
  cost.executed_flops += head;
  cost.parameters = model.image_parameters;
  cost.trained = model.image_trained;
  if (!cost.trained) cost.saved_bytes = 0;
  return cost;
}

TowerCost text_cost(const ModelShape& model, Activations activations, double caption_tokens) {
  TowerCost cost;
  if (!model.text) return cost;
  const TextShape& t = *model.text;
  const double n = t.context, d = t.width, m = t.mlp;
  const double kept = t.pack ? std::clamp(caption_tokens, 1.0, n) : n;
  const double project = t.project ? 2 * d * t.embed_dim : 0;
  cost.standard_flops = blocks_flops(t.layers, {n, n, false}, d, m) + project;
  cost.executed_flops = project;
  add_blocks(cost, t.layers, {kept, n, t.prune}, d, m, t.quick_gelu, activations);
  cost.saved_bytes += 2 * kept * d * 4;
  cost.traffic_bytes += 6 * kept * d * 4;
  cost.parameters = model.text_parameters;
  cost.trained = model.text_trained;
  if (!cost.trained) cost.saved_bytes = 0;
  return cost;
}

}  // namespace plumbline
