// Tensor names of OpenCLIP's plain ViT layout and of Hugging Face's CLIPModel.
#pragma once

#include <array>
#include <string>

namespace plumbline::hugging_face {

// One block of an encoder under its two names; q, k and v stand apart in CLIPModel.

struct Pair {
  const char* open_clip;
  const char* hugging_face;
};
inline constexpr std::array<Pair, 5> kBlock = {{{"ln_1", "layer_norm1"},
                                                {"attn.out_proj", "self_attn.out_proj"},
                                                {"ln_2", "layer_norm2"},
                                                {"mlp.c_fc", "mlp.fc1"},
                                                {"mlp.c_proj", "mlp.fc2"}}};
inline constexpr std::array<const char*, 3> kQueryKeyValue = {"q_proj", "k_proj", "v_proj"};
inline constexpr std::array<Pair, 11> kSingle = {
    {{"positional_embedding", "text_model.embeddings.position_embedding.weight"},
     {"logit_scale", "logit_scale"},
     {"visual.class_embedding", "vision_model.embeddings.class_embedding"},
     {"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
     {"visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"},
     {"visual.ln_pre.weight", "vision_model.pre_layrnorm.weight"},  // spelt so there
     {"visual.ln_pre.bias", "vision_model.pre_layrnorm.bias"},
     {"visual.ln_post.weight", "vision_model.post_layernorm.weight"},
     {"visual.ln_post.bias", "vision_model.post_layernorm.bias"},
     {"token_embedding.weight", "text_model.embeddings.token_embedding.weight"},
     {"ln_final.weight", "text_model.final_layer_norm.weight"}}};
inline constexpr Pair kFinalBias = {"ln_final.bias", "text_model.final_layer_norm.bias"};
inline constexpr std::array<Pair, 2> kTransposed = {
    {{"text_projection", "text_projection.weight"}, {"visual.proj", "visual_projection.weight"}}};

struct Encoder {
  std::string open_clip, hugging_face;
  int layers;
};

inline std::array<Encoder, 2> encoders(int vision_layers, int text_layers) {
  return {{{"visual.transformer.resblocks.", "vision_model.encoder.layers.", vision_layers},
           {"transformer.resblocks.", "text_model.encoder.layers.", text_layers}}};
}

inline constexpr char kConfig[] = "config.json";
inline constexpr int kStartOfText = 49406, kEndOfText = 49407;

}  // namespace plumbline::hugging_face
