#include "model/text_tower.h"

#include <algorithm>
#include <cmath>

#include "plumbline/error.h"

namespace plumbline {
namespace {

/// Position of each row's pooled token, int64 [B]: the first of the largest ids, the first eos_id
/// (0 where there is none), the last or the first token.
at::Tensor pooled_positions(const at::Tensor& tokens_BL, const TextOptions& options) {
  const std::int64_t rows = tokens_BL.size(0);
  const auto fixed = [&](std::int64_t position) {
    return at::full({rows}, position, tokens_BL.options().dtype(at::kLong));
  };
  if (options.pool_type == "argmax") return tokens_BL.argmax(-1);
  if (options.pool_type == "eos") {
    return tokens_BL.eq(options.eos_id).to(at::kInt).argmax(-1);
  }
  return fixed(options.pool_type == "last" ? tokens_BL.size(1) - 1 : 0);
}

/// What a forward pass computes: the tokens that are kept and where each row's pooled one is.
struct Plan {
  at::Tensor tokens_T, position_T;  ///< id and position of each kept token
  at::Tensor pooled_B, position_B;  ///< the pooled token's index into T, and its position
  Packing packing;
};

Plan plan_dense(const at::Tensor& tokens_BL, const at::Tensor& position_B) {
  const std::int64_t rows = tokens_BL.size(0);
  const std::int64_t length = tokens_BL.size(1);
  const at::Tensor row_start = at::arange(0, rows * length, length, position_B.options());
  return {tokens_BL.flatten(), {}, row_start + position_B, position_B, {rows, length, {}}};
}

/// Keeps positions 0..pooled of each row. Exact under the causal order: the pooled token reads
/// nothing behind it.
Plan plan_packed(const at::Tensor& tokens_BL, const at::Tensor& position_B) {
  const std::int64_t rows = tokens_BL.size(0);
  const std::int64_t full = tokens_BL.size(1);
  const at::Tensor last = position_B.to(at::kCPU).contiguous();
  const std::span<const std::int64_t> ends(last.data_ptr<std::int64_t>(),
                                           static_cast<std::size_t>(rows));
  const std::int64_t longest = rows == 0 ? 0 : *std::max_element(ends.begin(), ends.end()) + 1;
  std::vector<std::int64_t> source, slot, position, pooled;
  for (std::int64_t b = 0; b < rows; ++b) {
    for (std::int64_t i = 0; i <= ends[static_cast<std::size_t>(b)]; ++i) {
      source.push_back(b * full + i);
      slot.push_back(b * longest + i);
      position.push_back(i);
    }
    pooled.push_back(std::ssize(source) - 1);
  }
  const auto on_device = [&](const std::vector<std::int64_t>& v) {
    return at::tensor(v, at::kLong).to(tokens_BL.device());
  };
  Plan plan{tokens_BL.flatten().index_select(0, on_device(source)),
            on_device(position),
            on_device(pooled),
            position_B,
            {rows, longest, {}}};
  if (std::ssize(slot) < rows * longest) plan.packing.slot_T = on_device(slot);
  return plan;
}

Plan move(const Plan& plan, at::Device device) {
  const auto to = [&](const at::Tensor& t) { return t.defined() ? t.to(device) : t; };
  return {to(plan.tokens_T),
          to(plan.position_T),
          to(plan.pooled_B),
          to(plan.position_B),
          {plan.packing.rows, plan.packing.tokens, to(plan.packing.slot_T)}};
}

}  // namespace

void TextTower::declare_own(Weights& weights, const std::string& prefix) {
  const std::int64_t w = options_.width;
  positional_embedding_ = weights.parameter(prefix + "positional_embedding",
                                            {options_.context_length, w}, normal(0.01));
  if (options_.proj_type == "linear" && !options_.proj_bias) {
    text_projection_ = weights.parameter(prefix + "text_projection", {w, embed_dim_},
                                         normal(1.0 / std::sqrt(static_cast<double>(w))));
  }
}

void TextTower::declare_parts(Weights& weights, const std::string& prefix, bool embedding_first) {
  const std::int64_t w = options_.width;
  const auto width = static_cast<double>(w);
  const auto declare_embedding = [&] {
    token_embedding_ = weights.parameter(prefix + "token_embedding.weight",
                                         {options_.vocab_size, w}, normal(0.02));
  };
  if (embedding_first) declare_embedding();
  const std::int64_t mlp = static_cast<std::int64_t>(width * options_.mlp_ratio);
  const Init attention = normal(1.0 / std::sqrt(width));
  const Init residual = normal(1.0 / std::sqrt(width * 2.0 * options_.layers));
  transformer_ = declare_transformer(
      weights, prefix + "transformer",
      {w, options_.layers, options_.heads, mlp, activation_of(options_.activation),
       options_.norm_eps, options_.ls_init_value, !options_.no_causal_mask},
      {attention, residual, normal(1.0 / std::sqrt(2.0 * width)), torch_default(w), residual,
       torch_default(mlp)});
  if (!embedding_first) declare_embedding();
  ln_final_ = declare_layer_norm(weights, prefix + "ln_final", w, options_.norm_eps);
  if (options_.proj_type == "linear" && options_.proj_bias) {
    projection_ = declare_linear(weights, prefix + "text_projection", w, embed_dim_,
                                 normal(1.0 / std::sqrt(width)), constant(0));
  }
}

at::Tensor TextTower::forward(const at::Tensor& tokens_BL, const PassOptions& pass) const {
  const at::Tensor position = pooled_positions(tokens_BL, options_);
  const bool causal = !options_.no_causal_mask;
  const bool pack =
      pass.pack_text && causal && (options_.pool_type == "argmax" || options_.pool_type == "eos");
  const Plan plan = move(pack ? plan_packed(tokens_BL, position) : plan_dense(tokens_BL, position),
                         token_embedding_.device());
  const at::Tensor ids = at::embedding(token_embedding_, plan.tokens_T);
  const at::Tensor x =
      plan.position_T.defined()
          ? ids + positional_embedding_.index_select(0, plan.position_T)
          : (ids.view({plan.packing.rows, -1, options_.width}) + positional_embedding_)
                .view({-1, options_.width});
  // ln_final treats each token by itself, so the pooled one is enough.
  const at::Tensor pooled = ln_final_(
      transformer_.run_pooled(x, plan.packing, plan.pooled_B,
                              causal ? plan.position_B : at::Tensor(), pass.prune_last_block));
  if (projection_.weight.defined()) return projection_(pooled);
  return text_projection_.defined() ? at::mm(pooled, text_projection_) : pooled;
}

}  // namespace plumbline
