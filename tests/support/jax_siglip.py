"""A SigLIP model's weights under the names and in the layouts of the JAX program that trained it."""

import torch

SIGLIP = {"embed_dim": 768, "init_logit_bias": -10, "custom_text": True,
          "vision_cfg": {"image_size": 224, "timm_model_name": "vit_base_patch16_siglip_224",
                         "timm_pool": "map", "timm_proj": "none"},
          "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1,
                       "layers": 1, "no_causal_mask": True, "proj_bias": True,
                       "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}}


def to_jax(state, heads, text_heads, stacked):
    """The arrays from which OpenCLIP's own reader makes `state`."""
    arrays = {"params/t": state["logit_scale"].reshape(1), "params/b": state["logit_bias"].reshape(1)}

    def put(name, tensor):
        arrays["params/" + name] = tensor

    def dense(name, source):
        put(name + "/kernel", state[source + ".weight"].t())
        put(name + "/bias", state[source + ".bias"])

    def norm(name, source):
        put(name + "/scale", state[source + ".weight"])
        put(name + "/bias", state[source + ".bias"])

    def attention(name, parts, weight, bias, out, n):
        for part, w, b in zip(parts, weight.chunk(len(parts)), bias.chunk(len(parts))):
            put(f"{name}/{part}/kernel", w.t().reshape(w.shape[1], n, -1))
            put(f"{name}/{part}/bias", b.reshape(n, -1))
        if out:
            put(name + "/out/kernel", state[out + ".weight"].t().reshape(n, -1, w.shape[1]))
            put(name + "/out/bias", state[out + ".bias"])

    def block(name, source, names, n):
        one, qkv, out, two, fc1, fc2 = (source + x for x in names)
        norm(name + "/LayerNorm_0", one)
        attention(name + "/MultiHeadDotProductAttention_0", ("query", "key", "value"),
                  state[qkv + "weight"], state[qkv + "bias"], out, n)
        norm(name + "/LayerNorm_1", two)
        dense(name + "/MlpBlock_0/Dense_0", fc1)
        dense(name + "/MlpBlock_0/Dense_1", fc2)

    trunk = "visual.trunk."
    put("img/embedding/kernel", state[trunk + "patch_embed.proj.weight"].permute(2, 3, 1, 0))
    put("img/embedding/bias", state[trunk + "patch_embed.proj.bias"])
    put("img/pos_embedding", state[trunk + "pos_embed"])
    for i in range(12):
        block(f"img/Transformer/encoderblock_{i}", f"{trunk}blocks.{i}.",
              ("norm1", "attn.qkv.", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"), heads)
    norm("img/Transformer/encoder_norm", trunk + "norm")
    pool, head = trunk + "attn_pool.", "img/MAPHead_0"
    put(head + "/probe", state[pool + "latent"])
    name = head + "/MultiHeadDotProductAttention_0"
    attention(name, ("query",), state[pool + "q.weight"], state[pool + "q.bias"], None, heads)
    attention(name, ("key", "value"), state[pool + "kv.weight"], state[pool + "kv.bias"],
              pool + "proj", heads)
    norm(head + "/LayerNorm_0", pool + "norm")
    dense(head + "/MlpBlock_0/Dense_0", pool + "mlp.fc1")
    dense(head + "/MlpBlock_0/Dense_1", pool + "mlp.fc2")
    put("txt/Embed_0/embedding", state["text.token_embedding.weight"])
    put("txt/pos_embedding", state["text.positional_embedding"][None])
    block("txt/Encoder_0/encoderblock_0", "text.transformer.resblocks.0.",
          ("ln_1", "attn.in_proj_", "attn.out_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"), text_heads)
    norm("txt/Encoder_0/encoder_norm", "text.ln_final")
    dense("txt/head", "text.text_projection")
    if stacked:
        for key in [k for k in arrays if "img/Transformer/encoderblock_0/" in k]:
            parts = [arrays.pop(key.replace("block_0", f"block_{i}")) for i in range(12)]
            arrays[key.replace("block_0", "block")] = torch.stack(parts)
    return {k: v.contiguous().numpy() for k, v in arrays.items()}
