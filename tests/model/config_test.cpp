// Configurations, sizes, first values, locks.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <map>
#include <set>

#include "plumbline/error.h"
#include "plumbline/model.h"
#include "tests/model/fill.h"

namespace plumbline {
namespace {

std::int64_t parameters_of(const std::string& name) {
  std::int64_t count = 0;
  for (const TensorShape& tensor : tensor_shapes(read_model(name))) {
    if (tensor.parameter) count += c10::multiply_integers(tensor.shape);
  }
  return count;
}

TEST(ModelConfig, ParameterCounts) {
  const std::map<std::string, std::int64_t> counts = {{"RN50", 102'007'137},
                                                      {"RN101", 119'688'033},
                                                      {"RN50x4", 178'300'601},
                                                      {"RN50x16", 290'979'217},
                                                      {"RN50x64", 623'258'305},
                                                      {"ViT-S-32", 63'085'825},
                                                      {"ViT-S-16", 62'257'537},
                                                      {"ViT-B-32", 151'277'313},
                                                      {"ViT-B-16", 149'620'737},
                                                      {"ViT-L-14", 427'616'513},
                                                      {"ViT-H-14", 986'109'441},
                                                      {"ViT-g-14", 1'366'678'273},
                                                      {"ViT-bigG-14", 2'539'567'105},
                                                      {"ViT-L-14-CLIPA", 414'210'561},
                                                      {"ViT-B-16-SigLIP", 203'155'970},
                                                      {"ViT-SO400M-14-SigLIP", 877'360'306}};
  for (const auto& [name, count] : counts) EXPECT_EQ(parameters_of(name), count) << name;
}

TEST(ModelConfig, ForwardFlops) {
  const std::map<std::string, double> giga = {{"ViT-B-32", 14.78},
                                              {"ViT-B-16", 41.09},
                                              {"ViT-L-14", 175.3},
                                              {"ViT-H-14", 381.7},
                                              {"RN50", 18.18}};
  for (const auto& [name, expected] : giga) {
    EXPECT_NEAR(forward_flops(read_model(name)) / 1e9, expected, 1e-3 * expected) << name;
  }
}

TEST(ModelConfig, QuickGeluSuffix) {
  const ModelOptions plain = read_model("ViT-B-32");
  const ModelOptions quick = read_model("ViT-B-32-quickgelu");
  EXPECT_EQ(plain.vision.activation, "gelu");
  EXPECT_EQ(quick.name, "ViT-B-32-quickgelu");
  EXPECT_EQ(quick.vision.activation, "quick_gelu");
  EXPECT_EQ(quick.text.activation, "quick_gelu");
  EXPECT_NE(quick.source_json.find("quick_gelu"), std::string::npos);
  EXPECT_EQ(plain.preprocess.height, 224);
}

TEST(ModelConfig, HubFileIsUnwrapped) {
  const ModelOptions options = read_model(write_temporary("hub.json", R"({
    "model_cfg": {"embed_dim": 64, "vision_cfg": {"image_size": [64, 32], "patch_size": 16},
                  "text_cfg": {}},
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.25],
                       "interpolation": "bilinear", "resize_mode": "squash"}})"));
  EXPECT_EQ(options.embed_dim, 64);
  EXPECT_EQ(options.vision.image_width, 32);
  EXPECT_EQ(options.preprocess.height, 64);
  EXPECT_EQ(options.preprocess.width, 32);
  EXPECT_EQ(options.preprocess.std[2], 0.25F);
  EXPECT_EQ(options.preprocess.filter, Filter::bilinear);
  EXPECT_EQ(options.preprocess.mode, ResizeMode::squash);
  EXPECT_EQ(options.source_json.find("model_cfg"), std::string::npos);
  // What a checkpoint keeps reads back to the same model.
  const ModelOptions again = read_model(write_temporary("again.json", options.source_json));
  EXPECT_EQ(again.source_json, options.source_json);
}

TEST(ModelConfig, ErrorsNameFileLineAndKey) {
  struct Case {
    const char *line, *expected;
  };
  const Case cases[] = {
      {"vision_cfg: {widht: 3}", ":2: unknown key 'vision_cfg.widht' (did you mean"},
      {"vision_cfg: {attentional_pool: true}",
       ":2: 'vision_cfg.attentional_pool' is not supported"},
      {"vision_cfg: {pool_type: none}", ":2: 'vision_cfg.pool_type' "},
      {"vision_cfg: {pos_embed_type: sin_cos_2d}", ":2: 'vision_cfg.pos_embed_type' "},
      {"vision_cfg: {width: 100, head_width: 30}", ":2: 'vision_cfg.head_width' "},
      {"vision_cfg: {layers: [1, 2, 3]}", ":2: 'vision_cfg.layers' "},
      {"vision_cfg: {layers: [1, 1, 1, 1], pool_type: tok}", "no effect on a ModifiedResNet"},
      {"vision_cfg: {timm_model_name: convnext_base}", ":2: 'vision_cfg.timm_model_name' "},
      {"multimodal_cfg: {}", ":2: 'multimodal_cfg' "},
      {"text_cfg: {hf_model_name: bert}", ":2: 'text_cfg.hf_model_name' "},
      {"text_cfg: {width: 100, heads: 3}", ":2: 'text_cfg.heads' "},
      {"text_cfg: {proj_type: none}", ":2: 'text_cfg.proj_type' "},
      {"text_cfg: {act_kwargs: {approximate: cubic}}", "'text_cfg.act_kwargs.approximate' "},
  };
  for (const Case& c : cases) {
    std::string text = std::string("embed_dim: 64\n") + c.line + "\n";
    for (const char* key : {"vision_cfg", "text_cfg"}) {
      if (text.find(key) == std::string::npos) text += std::string(key) + ": {}\n";
    }
    const std::string path = write_temporary("bad.yaml", text);
    try {
      (void)read_model(path);
      FAIL() << c.line << " was accepted";
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find(c.expected), std::string::npos) << e.what();
      EXPECT_TRUE(std::string(e.what()).starts_with(path)) << e.what();
    }
  }
  EXPECT_THROW((void)read_model("ViT-Z-99"), UsageError);
}

// First values.

/// Standard errors of mean and deviation over n independent numbers, kurtosis k.
void expect_distribution(const std::string& name, const at::Tensor& tensor, double deviation,
                         bool uniform) {
  const at::Tensor x = tensor.to(at::kDouble).flatten();
  const double n = static_cast<double>(x.numel());
  const double kurtosis = uniform ? 1.8 : 3.0;
  EXPECT_NEAR(x.mean().item<double>(), 0, 5 * deviation / std::sqrt(n)) << name;
  EXPECT_NEAR(x.square().mean().sqrt().item<double>() / deviation, 1,
              5 * std::sqrt((kurtosis - 1) / (4 * n)))
      << name;
  const double largest = x.abs().max().item<double>();
  if (uniform) {
    EXPECT_LE(largest, deviation * std::sqrt(3.0) * (1 + 1e-6)) << name;
  } else if (n > 1000) {
    EXPECT_GT(largest, 2.5 * deviation) << name;
  }
}

TEST(Init, ViTAndTextDistributions) {
  const auto model = make_model(read_model("tiny-vit"), 3);
  std::map<std::string, at::Tensor> t;
  for (const auto& [name, tensor] : model->state_dict()) t[name] = tensor;
  const double w = 64;
  const auto normal = [&](const std::string& name, double s) {
    expect_distribution(name, t.at(name), s, false);
  };
  const auto uniform = [&](const std::string& name, double bound) {
    expect_distribution(name, t.at(name), bound / std::sqrt(3.0), true);
  };
  normal("visual.class_embedding", 1 / std::sqrt(w));
  normal("visual.positional_embedding", 1 / std::sqrt(w));
  normal("visual.proj", 1 / std::sqrt(w));
  uniform("visual.conv1.weight", 1 / std::sqrt(192.0));
  normal("positional_embedding", 0.01);
  normal("token_embedding.weight", 0.02);
  normal("text_projection", 1 / std::sqrt(w));
  const std::string v = "visual.transformer.resblocks.1.";
  uniform(v + "attn.in_proj_weight", std::sqrt(6 / (4 * w)));
  uniform(v + "attn.out_proj.weight", 1 / std::sqrt(w));
  uniform(v + "mlp.c_fc.weight", 1 / std::sqrt(w));
  uniform(v + "mlp.c_fc.bias", 1 / std::sqrt(w));
  uniform(v + "mlp.c_proj.weight", 1 / std::sqrt(4 * w));
  const std::string x = "transformer.resblocks.0.";
  normal(x + "attn.in_proj_weight", 1 / std::sqrt(w));
  normal(x + "attn.out_proj.weight", 1 / std::sqrt(w * 4));
  normal(x + "mlp.c_fc.weight", 1 / std::sqrt(2 * w));
  normal(x + "mlp.c_proj.weight", 1 / std::sqrt(w * 4));
  uniform(x + "mlp.c_proj.bias", 1 / std::sqrt(4 * w));
  for (const std::string& prefix : {v, x}) {
    EXPECT_EQ(t.at(prefix + "attn.in_proj_bias").abs().max().item<float>(), 0);
    EXPECT_EQ(t.at(prefix + "attn.out_proj.bias").abs().max().item<float>(), 0);
    EXPECT_EQ(t.at(prefix + "ln_1.weight").min().item<float>(), 1);
    EXPECT_EQ(t.at(prefix + "ln_2.bias").abs().max().item<float>(), 0);
  }
  EXPECT_FLOAT_EQ(t.at("logit_scale").item<float>(), std::log(1 / 0.07F));
}

TEST(Init, ResNetDistributions) {
  const auto model = make_model(read_model("tiny-rn"), 3);
  for (const auto& [name, tensor] : model->state_dict()) {
    if (name.starts_with("visual.attnpool") && tensor.dim() == 2) {
      expect_distribution(name, tensor, 1 / std::sqrt(512.0), false);
    } else if (name.starts_with("visual.") && tensor.dim() == 4) {
      const auto fan_in = static_cast<double>(tensor[0].numel());
      expect_distribution(name, tensor, 1 / std::sqrt(3 * fan_in), true);
    } else if (name.ends_with("bn3.weight") && name.find("layer") != std::string::npos) {
      EXPECT_EQ(tensor.abs().max().item<float>(), 0) << name;
    } else if (name.ends_with("bn3.weight") || name.ends_with("running_var")) {
      EXPECT_EQ(tensor.min().item<float>(), 1) << name;
    }
  }
}

TEST(Init, DependsOnSeedAndNameAlone) {
  const auto values = [](const std::string& config, std::uint64_t seed) {
    std::map<std::string, at::Tensor> t;
    for (const auto& [name, tensor] : make_model(read_model(config), seed)->state_dict()) {
      t[name] = tensor;
    }
    return t;
  };
  const auto a = values("tiny-vit", 3);
  EXPECT_TRUE(
      a.at("token_embedding.weight").equal(values("tiny-rn", 3).at("token_embedding.weight")));
  EXPECT_FALSE(a.at("text_projection").equal(values("tiny-vit", 4).at("text_projection")));
  EXPECT_FALSE(a.at("transformer.resblocks.0.mlp.c_fc.weight")
                   .equal(a.at("transformer.resblocks.1.mlp.c_fc.weight")));
  // Recorded once; a change breaks the repeatability of runs.
  EXPECT_FLOAT_EQ(a.at("text_projection")[0][0].item<float>(), 0.10962848F);
}

// Locks.

std::set<std::string> trainable(const ClipModel& model) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : model.named_parameters_in_order()) names.insert(name);
  return names;
}

TEST(Lock, UnlocksTheLastGroups) {
  const auto model = make_model(read_model("tiny-vit"), 1);
  const std::size_t all = trainable(*model).size();
  lock_image(*model, 2);
  std::set<std::string> names = trainable(*model);
  EXPECT_TRUE(names.contains("visual.proj"));
  EXPECT_TRUE(names.contains("visual.ln_post.bias"));
  EXPECT_TRUE(names.contains("visual.transformer.resblocks.1.mlp.c_fc.weight"));
  EXPECT_FALSE(names.contains("visual.transformer.resblocks.0.mlp.c_fc.weight"));
  EXPECT_FALSE(names.contains("visual.conv1.weight"));
  EXPECT_TRUE(names.contains("positional_embedding"));
  lock_image(*model, 0);
  for (const std::string& name : trainable(*model)) EXPECT_FALSE(name.starts_with("visual."));
  lock_text(*model, 0);
  EXPECT_EQ(trainable(*model), std::set<std::string>{"logit_scale"});
  lock_image(*model, 99);
  lock_text(*model, 99);
  EXPECT_EQ(trainable(*model).size(), all);
  const auto resnet = make_model(read_model("tiny-rn"), 1);
  EXPECT_THROW(lock_image(*resnet, 1), UsageError);
}

}  // namespace
}  // namespace plumbline
