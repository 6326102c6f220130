#include "model/transformer.h"

#include "plumbline/error.h"

namespace plumbline {
namespace {

/// [B N, parts D] to `parts` tensors [B, H, N, d], without a copy.
std::vector<at::Tensor> split_heads(const at::Tensor& x, std::int64_t rows, std::int64_t parts,
                                    std::int64_t heads) {
  const std::int64_t head_dim = x.size(-1) / (parts * heads);
  std::vector<at::Tensor> split = x.view({rows, -1, parts, heads, head_dim}).unbind(2);
  for (at::Tensor& part : split) part = part.transpose(1, 2);
  return split;
}

/// [B, H, N, d] to [B N, D].
at::Tensor join_heads(const at::Tensor& x_BHNd) {
  return x_BHNd.transpose(1, 2).reshape({-1, x_BHNd.size(1) * x_BHNd.size(3)});
}

/// Packed rows to B x N; tokens that are not there are zero. Behind the last token of a row the
/// causal order keeps them from being read.
at::Tensor unpack(const at::Tensor& x_TD, const Packing& packing) {
  if (packing.dense()) return x_TD;
  return at::zeros({packing.rows * packing.tokens, x_TD.size(1)}, x_TD.options())
      .index_copy(0, packing.slot_T, x_TD);
}

/// attend(x), in float32 where x is bfloat16 on a CPU: there LibTorch's attention of bfloat16 takes
/// four times as long backward (598 ms against 128 ms of a step of 16 pairs of ViT-B-32).
template <typename Attend>
at::Tensor in_float32_on_cpu(const at::Tensor& x, const Attend& attend) {
  if (!x.is_cpu() || x.scalar_type() != at::kBFloat16) return attend(x);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      c10::DispatchKeySet(c10::DispatchKey::AutocastCPU));
  return attend(x.to(at::kFloat)).to(at::kBFloat16);
}

at::Tensor attention(const Block& block, const at::Tensor& x_TD, const Packing& packing,
                     const TransformerOptions& options) {
  const at::Tensor qkv = unpack(block.in_proj(x_TD), packing);
  const at::Tensor mixed = in_float32_on_cpu(qkv, [&](const at::Tensor& x) {
    const std::vector<at::Tensor> part = split_heads(x, packing.rows, 3, options.heads);
    return join_heads(at::scaled_dot_product_attention(part[0], part[1], part[2], std::nullopt, 0.0,
                                                       options.causal));
  });
  return block.out_proj(packing.dense() ? mixed : mixed.index_select(0, packing.slot_T));
}

/// Attention of one query a row: q from the pooled tokens, k and v from all.
at::Tensor pooled_attention(const Block& block, const at::Tensor& x_TD, const at::Tensor& query_BD,
                            const Packing& packing, const at::Tensor& position_B,
                            const TransformerOptions& options) {
  const std::int64_t width = options.width;
  const at::Tensor& weight = block.in_proj.weight;
  const at::Tensor& bias = block.in_proj.bias;
  const at::Tensor q = at::linear(query_BD, weight.narrow(0, 0, width), bias.narrow(0, 0, width));
  const at::Tensor kv =
      unpack(at::linear(x_TD, weight.narrow(0, width, 2 * width), bias.narrow(0, width, 2 * width)),
             packing);
  std::optional<at::Tensor> visible;
  if (options.causal) {
    const at::Tensor key = at::arange(packing.tokens, position_B.options());
    visible = key.le(position_B.view({-1, 1, 1, 1}));
  }
  return block.out_proj(in_float32_on_cpu(kv, [&](const at::Tensor& x) {
    const std::vector<at::Tensor> part = split_heads(x, packing.rows, 2, options.heads);
    const at::Tensor query = split_heads(q.to(x.scalar_type()), packing.rows, 1, options.heads)[0];
    return join_heads(at::scaled_dot_product_attention(query, part[0], part[1], visible));
  }));
}

/// x + gamma y. y is a fresh tensor that no gradient needs, so the sum goes into its memory.
at::Tensor add_branch(const at::Tensor& x, at::Tensor y, const at::Tensor& gamma) {
  if (gamma.defined()) y = y * gamma;
  return y.scalar_type() == x.scalar_type() ? y.add_(x) : y + x;
}

at::Tensor add_mlp(const Block& block, const at::Tensor& x, Activation activation) {
  return add_branch(x, block.c_proj(activate(block.c_fc(block.ln_2(x)), activation)), block.ls_2);
}

at::Tensor run_block(const Block& block, const at::Tensor& x, const Packing& packing,
                     const TransformerOptions& options) {
  return add_mlp(block,
                 add_branch(x, attention(block, block.ln_1(x), packing, options), block.ls_1),
                 options.activation);
}

/// How one family of names calls the parts of a block.
struct BlockNames {
  const char *ln_1, *in_weight, *in_bias, *out, *ln_2, *fc, *proj;
};
constexpr BlockNames kOpenClip = {
    "ln_1",     "attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj", "ln_2",
    "mlp.c_fc", "mlp.c_proj"};
constexpr BlockNames kTimm = {"norm1", "attn.qkv.weight", "attn.qkv.bias", "attn.proj",
                              "norm2", "mlp.fc1",         "mlp.fc2"};

Block declare_block(Weights& weights, const std::string& prefix, const BlockNames& names,
                    const TransformerOptions& o, const BlockInit& init) {
  const auto scale = [&](const char* name) {
    return o.ls_init_value ? weights.parameter(prefix + name, {o.width}, constant(*o.ls_init_value))
                           : at::Tensor();
  };
  Block block;
  block.ln_1 = declare_layer_norm(weights, prefix + names.ln_1, o.width, o.norm_eps);
  block.in_proj.weight =
      weights.parameter(prefix + names.in_weight, {3 * o.width, o.width}, init.in_proj);
  block.in_proj.bias = weights.parameter(prefix + names.in_bias, {3 * o.width}, constant(0));
  block.out_proj =
      declare_linear(weights, prefix + names.out, o.width, o.width, init.out_proj, constant(0));
  block.ls_1 = scale("ls_1.gamma");
  block.ln_2 = declare_layer_norm(weights, prefix + names.ln_2, o.width, o.norm_eps);
  block.c_fc =
      declare_linear(weights, prefix + names.fc, o.width, o.mlp_width, init.c_fc, init.c_fc_bias);
  block.c_proj = declare_linear(weights, prefix + names.proj, o.mlp_width, o.width, init.c_proj,
                                init.c_proj_bias);
  block.ls_2 = scale("ls_2.gamma");
  return block;
}

Transformer declare_blocks(Weights& weights, const std::string& prefix, const BlockNames& names,
                           const TransformerOptions& options, const BlockInit& init) {
  Transformer transformer{options, {}};
  for (std::int64_t i = 0; i < options.layers; ++i) {
    transformer.blocks.push_back(
        declare_block(weights, str(prefix, ".", i, "."), names, options, init));
  }
  return transformer;
}

}  // namespace

Activation activation_of(const std::string& name) {
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "quick_gelu") return Activation::quick_gelu;
  require(name == "gelu", "an activation is gelu, gelu_tanh or quick_gelu");
  return Activation::gelu;
}

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::quick_gelu:
      return x * at::sigmoid(1.702 * x);
  }
  throw InternalError("unknown activation");
}

Linear declare_linear(Weights& weights, const std::string& name, std::int64_t in, std::int64_t out,
                      Init weight, Init bias) {
  Linear linear;
  linear.weight = weights.parameter(name + ".weight", {out, in}, weight);
  linear.bias = weights.parameter(name + ".bias", {out}, bias);
  return linear;
}

LayerNorm declare_layer_norm(Weights& weights, const std::string& name, std::int64_t width,
                             double eps) {
  LayerNorm norm;
  norm.weight = weights.parameter(name + ".weight", {width}, constant(1));
  norm.bias = weights.parameter(name + ".bias", {width}, constant(0));
  norm.eps = eps;
  return norm;
}

at::Tensor Transformer::run(const at::Tensor& x_TD, const Packing& packing) const {
  at::Tensor x = x_TD;
  for (const Block& block : blocks) x = run_block(block, x, packing, options);
  return x;
}

at::Tensor Transformer::run_pooled(const at::Tensor& x_TD, const Packing& packing,
                                   const at::Tensor& pooled_B, const at::Tensor& position_B,
                                   bool prune) const {
  if (!prune || blocks.empty()) return run(x_TD, packing).index_select(0, pooled_B);
  at::Tensor x = x_TD;
  for (std::size_t i = 0; i + 1 < blocks.size(); ++i) {
    x = run_block(blocks[i], x, packing, options);
  }
  const Block& last = blocks.back();
  const at::Tensor normed = last.ln_1(x);
  const at::Tensor mixed = pooled_attention(last, normed, normed.index_select(0, pooled_B), packing,
                                            position_B, options);
  return add_mlp(last, add_branch(x.index_select(0, pooled_B), mixed, last.ls_1),
                 options.activation);
}

Transformer declare_transformer(Weights& weights, const std::string& prefix,
                                const TransformerOptions& options, const BlockInit& init) {
  return declare_blocks(weights, prefix + ".resblocks", kOpenClip, options, init);
}

Transformer declare_timm_blocks(Weights& weights, const std::string& prefix,
                                const TransformerOptions& options, const BlockInit& init) {
  return declare_blocks(weights, prefix + ".blocks", kTimm, options, init);
}

}  // namespace plumbline
