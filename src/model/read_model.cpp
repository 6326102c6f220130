// OpenCLIP's model configuration to ModelOptions. Every key is used, read without effect as
// OpenCLIP itself does, or refused by name.
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "config/config_node.h"
#include "plumbline/error.h"
#include "plumbline/model.h"

namespace plumbline {
namespace {

/// Keys of OpenCLIP that ask for an architecture plumbline does not build, and the value that asks
/// for nothing.
struct Refused {
  const char* key;
  const char* harmless;
};
constexpr Refused kRefusedInTower[] = {
    {"block_type", "null"},   {"qk_norm", "false"},          {"scaled_cosine_attn", "false"},
    {"scale_heads", "false"}, {"scale_attn_inner", "false"}, {"scale_attn", "false"},
    {"scale_fc", "false"},    {"attentional_pool", "false"}, {"embed_cls", "false"},
    {"hf_model_name", "null"}};

void refuse(const ConfigNode& tower) {
  for (const Refused& refused : kRefusedInTower) {
    const ConfigNode node = tower[refused.key];
    if (!node.present() || node.is_null() || node.to_json() == refused.harmless) continue;
    node.fail("is not supported: plumbline builds the plain blocks of CLIP only");
  }
}

void read_without_effect(const ConfigNode& tower, std::initializer_list<const char*> keys) {
  for (const char* key : keys) (void)tower[key];
}

/// gelu, tanh gelu by `act_kwargs: {approximate: tanh}`, or QuickGELU.
std::string read_activation(const ConfigNode& tower, bool quick_gelu) {
  const ConfigNode kwargs = tower["act_kwargs"];
  if (!kwargs.present() || kwargs.is_null()) return quick_gelu ? "quick_gelu" : "gelu";
  std::string approximate = "none";
  kwargs["approximate"].get_choice(approximate, {"none", "tanh"});
  kwargs.reject_unknown();
  if (quick_gelu && !kwargs.keys().empty()) kwargs.fail("cannot go with quick_gelu: true");
  if (approximate == "tanh") return "gelu_tanh";
  return quick_gelu ? "quick_gelu" : "gelu";
}

void read_eps(const ConfigNode& tower, double& eps) {
  const ConfigNode kwargs = tower["norm_kwargs"];
  if (!kwargs.present() || kwargs.is_null()) return;
  kwargs["eps"].get_in(eps, 1e-12, 1.0);
  kwargs.reject_unknown();
}

void read_image_size(const ConfigNode& node, VisionOptions& vision) {
  if (!node.present() || node.is_null()) return;
  if (!node.is_sequence()) {
    node.get_in(vision.image_height, 1, 1 << 14);
    vision.image_width = vision.image_height;
    return;
  }
  std::array<int, 2> size = {vision.image_height, vision.image_width};
  node.get(size);
  if (size[0] < 1 || size[1] < 1) node.fail("has a side below 1");
  vision.image_height = size[0];
  vision.image_width = size[1];
}

void require_divisible(const ConfigNode& at, const char* what, int number, int divisor) {
  if (divisor < 1 || number % divisor != 0) {
    at.fail(str(what, " ", number, " is not divisible by ", divisor));
  }
}

void read_resnet(const ConfigNode& node, VisionOptions& vision) {
  node["layers"].get(vision.resnet_layers);
  if (vision.resnet_layers.size() != 4) {
    node["layers"].fail(
        str("of a ModifiedResNet are four numbers, not ", vision.resnet_layers.size()));
  }
  for (const int n : vision.resnet_layers) {
    if (n < 1) node["layers"].fail("has a stage without a block");
  }
  vision.width = 64;
  node["width"].get_in(vision.width, 2, 1 << 12);
  require_divisible(node["width"], "width", vision.width, 2);
  require_divisible(node["head_width"].present() ? node["head_width"] : node["width"],
                    "width of the pooled features (32 width)", 32 * vision.width,
                    vision.head_width);
  if (vision.image_height != vision.image_width || vision.image_height % 32 != 0) {
    node["image_size"].fail("of a ModifiedResNet must be one number divisible by 32");
  }
  for (const char* key : {"mlp_ratio", "ls_init_value", "patch_dropout", "no_ln_pre", "pool_type",
                          "final_ln_after_pool", "act_kwargs", "norm_kwargs"}) {
    if (node[key].present() && !node[key].is_null()) {
      node[key].fail("has no effect on a ModifiedResNet");
    }
  }
  read_without_effect(node, {"patch_size"});
}

void read_vit(const ConfigNode& node, bool quick_gelu, VisionOptions& vision) {
  node["layers"].get_in(vision.layers, 1, 1 << 10);
  node["width"].get_in(vision.width, 1, 1 << 16);
  node["mlp_ratio"].get_in(vision.mlp_ratio, 0.01, 64);
  node["patch_size"].get_in(vision.patch_size, 1, 1 << 12);
  node["ls_init_value"].get(vision.ls_init_value);
  node["patch_dropout"].get_in(vision.patch_dropout, 0.0, 0.999999);
  node["no_ln_pre"].get(vision.no_ln_pre);
  node["pool_type"].get_choice(vision.pool_type, {"tok", "avg"});
  node["final_ln_after_pool"].get(vision.final_ln_after_pool);
  vision.activation = read_activation(node, quick_gelu);
  read_eps(node, vision.norm_eps);
  const ConfigNode at = node["head_width"].present() ? node["head_width"] : node;
  if (vision.head_width > vision.width) at.fail("is wider than the tower");
  // OpenCLIP rounds the number of heads down, then wants the width divisible by it.
  const int heads = vision.width / vision.head_width;
  require_divisible(at, "vision width", vision.width, heads);
  vision.head_width = vision.width / heads;
  if (std::min(vision.image_height, vision.image_width) < vision.patch_size) {
    node["image_size"].fail("is smaller than a patch");
  }
}

struct SiglipTrunkSize {
  const char* name;
  int width, layers, heads;
  double mlp_ratio;
};
constexpr SiglipTrunkSize kSiglipSizes[] = {{"base", 768, 12, 12, 4.0},
                                            {"large", 1024, 24, 16, 4.0},
                                            {"so400m", 1152, 27, 16, 3.7362},
                                            {"giantopt", 1536, 40, 16, 4.0}};
struct SiglipTrunkName {
  const char* name;
  int size, patch, image;  ///< index into kSiglipSizes, pixels, pixels
  bool tanh;
};
constexpr SiglipTrunkName kSiglipTrunks[] = {
    {"vit_base_patch16_siglip_224", 0, 16, 224, false},
    {"vit_base_patch16_siglip_256", 0, 16, 256, false},
    {"vit_base_patch16_siglip_384", 0, 16, 384, false},
    {"vit_base_patch16_siglip_512", 0, 16, 512, false},
    {"vit_base_patch32_siglip_256", 0, 32, 256, true},
    {"vit_large_patch16_siglip_256", 1, 16, 256, false},
    {"vit_large_patch16_siglip_384", 1, 16, 384, false},
    {"vit_large_patch16_siglip_512", 1, 16, 512, true},
    {"vit_so400m_patch14_siglip_224", 2, 14, 224, false},
    {"vit_so400m_patch14_siglip_378", 2, 14, 378, false},
    {"vit_so400m_patch14_siglip_384", 2, 14, 384, false},
    {"vit_so400m_patch16_siglip_256", 2, 16, 256, true},
    {"vit_so400m_patch16_siglip_384", 2, 16, 384, true},
    {"vit_so400m_patch16_siglip_512", 2, 16, 512, true},
    {"vit_giantopt_patch16_siglip_256", 3, 16, 256, true},
    {"vit_giantopt_patch16_siglip_384", 3, 16, 384, true},
};

void read_siglip_trunk(const ConfigNode& node, int embed_dim, VisionOptions& vision) {
  const ConfigNode name = node["timm_model_name"];
  name.get(vision.siglip_trunk);
  const SiglipTrunkName* trunk = nullptr;
  for (const SiglipTrunkName& known : kSiglipTrunks) {
    if (vision.siglip_trunk == known.name) trunk = &known;
  }
  if (trunk == nullptr) {
    name.fail(str("'", vision.siglip_trunk,
                  "' is not supported: of timm's models plumbline builds ",
                  "vit_{base,large,so400m,giantopt}_patchN_siglip_SIZE only"));
  }
  const SiglipTrunkSize& size = kSiglipSizes[trunk->size];
  vision.width = size.width;
  vision.layers = size.layers;
  vision.head_width = size.width / size.heads;
  vision.mlp_ratio = size.mlp_ratio;
  vision.patch_size = trunk->patch;
  vision.activation = trunk->tanh ? "gelu_tanh" : "gelu";
  vision.norm_eps = 1e-6;
  if (vision.image_height != trunk->image || vision.image_width != trunk->image) {
    node["image_size"].fail(str("is not the ", trunk->image, " of ", trunk->name));
  }
  if (embed_dim != size.width) {
    name.fail(str("has features of width ", size.width, ", but embed_dim is ", embed_dim));
  }
  std::string pool = "avg", project = "linear";
  node["timm_pool"].get(pool);
  node["timm_proj"].get(project);
  if (pool != "map") node["timm_pool"].fail("must be 'map' for a SigLIP trunk");
  if (project != "none") node["timm_proj"].fail("must be 'none' for a SigLIP trunk");
  double dropout = 0;
  for (const char* key : {"timm_drop", "timm_drop_path", "patch_dropout"}) {
    if (!node[key].is_null()) node[key].get_in(dropout, 0, 0);
  }
  read_without_effect(
      node, {"timm_proj_bias", "layers", "width", "patch_size", "head_width", "mlp_ratio"});
}

VisionOptions read_vision(const ConfigNode& node, int embed_dim, bool quick_gelu) {
  VisionOptions vision;
  refuse(node);
  std::string positions = "learnable";
  node["pos_embed_type"].get_choice(positions, {"learnable"});
  read_without_effect(
      node, {"output_tokens", "timm_model_pretrained", "attn_pooler_queries", "attn_pooler_heads"});
  read_image_size(node["image_size"], vision);
  const ConfigNode timm = node["timm_model_name"];
  if (timm.present() && !timm.is_null()) {
    read_siglip_trunk(node, embed_dim, vision);
    return vision;
  }
  read_without_effect(node,
                      {"timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path"});
  node["head_width"].get_in(vision.head_width, 1, 1 << 12);
  if (node["layers"].is_sequence()) {
    read_resnet(node, vision);
  } else {
    read_vit(node, quick_gelu, vision);
  }
  return vision;
}

TextOptions read_text(const ConfigNode& node, int embed_dim, bool quick_gelu) {
  TextOptions text;
  refuse(node);
  node["context_length"].get_in(text.context_length, 1, 1 << 16);
  node["vocab_size"].get_in(text.vocab_size, 1, 1 << 28);
  node["width"].get_in(text.width, 1, 1 << 16);
  node["heads"].get_in(text.heads, 1, 1 << 12);
  node["layers"].get_in(text.layers, 1, 1 << 10);
  node["mlp_ratio"].get_in(text.mlp_ratio, 0.01, 64);
  node["ls_init_value"].get(text.ls_init_value);
  node["no_causal_mask"].get(text.no_causal_mask);
  node["pool_type"].get_choice(text.pool_type, {"argmax", "eos", "last", "first"});
  node["eos_id"].get(text.eos_id);
  node["proj_bias"].get(text.proj_bias);
  node["proj_type"].get_choice(text.proj_type, {"linear", "none"});
  text.activation = read_activation(node, quick_gelu);
  read_eps(node, text.norm_eps);
  read_without_effect(node,
                      {"output_tokens", "pad_id", "final_ln_after_pool", "hf_tokenizer_name",
                       "tokenizer_mode", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"});
  if (node["tokenizer_kwargs"].is_map()) {
    for (const std::string& key : node["tokenizer_kwargs"].keys()) {
      (void)node["tokenizer_kwargs"][key];
    }
  }
  require_divisible(node["heads"].present() ? node["heads"] : node, "text width", text.width,
                    text.heads);
  if (text.proj_type == "none" && text.width != embed_dim) {
    node["proj_type"].fail(
        str("none leaves features of width ", text.width, ", but embed_dim is ", embed_dim));
  }
  return text;
}

void read_colours(const ConfigNode& node, std::array<float, 3>& value, bool positive) {
  if (!node.present() || node.is_null()) return;
  std::array<double, 3> colours{};
  node.get(colours);
  for (std::size_t i = 0; i < 3; ++i) {
    if (positive && !(colours[i] > 0)) node.fail("must be positive");
    value[i] = static_cast<float>(colours[i]);
  }
}

/// `preprocess_cfg` of a hub file; the size is always the model's.
void read_preprocess(const ConfigNode& node, PreprocessOptions& preprocess) {
  if (!node.present() || node.is_null()) return;
  std::string filter = "bicubic", mode = "shortest";
  read_colours(node["mean"], preprocess.mean, false);
  read_colours(node["std"], preprocess.std, true);
  node["interpolation"].get_choice(filter, {"bicubic", "bilinear"});
  node["resize_mode"].get_choice(mode, {"shortest", "longest", "squash"});
  node["fill_color"].get_in(preprocess.fill, 0, 255);
  read_without_effect(node, {"size", "mode"});
  node.reject_unknown();
  preprocess.filter = filter == "bilinear" ? Filter::bilinear : Filter::bicubic;
  preprocess.mode = mode == "squash"    ? ResizeMode::squash
                    : mode == "longest" ? ResizeMode::longest
                                        : ResizeMode::shortest;
}

ConfigNode required(const ConfigNode& node, const char* key) {
  ConfigNode child = node[key];
  if (!child.present() || child.is_null()) node.fail(str("needs the key '", key, "'"));
  return child;
}

ModelOptions read_options(const ConfigNode& node, const ConfigNode& preprocess) {
  ModelOptions options;
  required(node, "embed_dim").get_in(options.embed_dim, 1, 1 << 16);
  bool quick_gelu = false;
  node["quick_gelu"].get(quick_gelu);
  node["custom_text"].get(options.custom_text);
  node["init_logit_scale"].get(options.init_logit_scale);
  node["init_logit_bias"].get(options.init_logit_bias);
  node["nonscalar_logit_scale"].get(options.nonscalar_logit_scale);
  if (node["multimodal_cfg"].present()) {
    node["multimodal_cfg"].fail("is not supported: plumbline builds no captioning decoder");
  }
  options.vision = read_vision(required(node, "vision_cfg"), options.embed_dim, quick_gelu);
  node["class_names"].get(options.class_names);
  const bool classifier = node["class_names"].present();
  if (!classifier || node["text_cfg"].present()) {
    options.text = read_text(required(node, "text_cfg"), options.embed_dim, quick_gelu);
  }
  node.reject_unknown();
  options.preprocess.height = options.vision.image_height;
  options.preprocess.width = options.vision.image_width;
  read_preprocess(preprocess, options.preprocess);
  options.source_json = node.to_json();
  if (classifier) set_class_names(options, options.class_names);
  return options;
}

/// NAME.yaml or NAME.json of the folder, or empty.
std::string find_config(const std::string& name, const std::string& folder) {
  for (const char* ending : {".yaml", ".json"}) {
    const std::string path = (std::filesystem::path(folder) / (name + ending)).string();
    if (std::filesystem::is_regular_file(path)) return path;
  }
  return "";
}

/// OpenCLIP's schema, or a hub file {model_cfg, preprocess_cfg}.
ModelOptions read_root(const ConfigNode& root) {
  const ConfigNode wrapped = root["model_cfg"];
  if (!wrapped.present()) return read_options(root, wrapped);
  ModelOptions options = read_options(wrapped, root["preprocess_cfg"]);
  root.reject_unknown();
  return options;
}

}  // namespace

void set_class_names(ModelOptions& options, std::vector<std::string> names) {
  if (names.size() < 2) throw UsageError("class_names: a classifier has at least two classes");
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (!seen.insert(name).second) throw UsageError(str("class_names: '", name, "' stands twice"));
  }
  auto json = nlohmann::ordered_json::parse(options.source_json);
  json["class_names"] = names;
  options.source_json = json.dump();
  options.class_names = std::move(names);
}

ModelOptions parse_model(const std::string& json, const std::string& where) {
  ModelOptions options = read_root(ConfigNode::parse(json, where));
  options.name = "inline";
  return options;
}

ModelOptions read_model(const std::string& name_or_path, const std::string& config_dir) {
  constexpr std::string_view kQuick = "-quickgelu";
  std::string path = find_config(name_or_path, config_dir);
  bool quick_gelu = false;
  if (path.empty() && name_or_path.ends_with(kQuick)) {
    path = find_config(name_or_path.substr(0, name_or_path.size() - kQuick.size()), config_dir);
    quick_gelu = !path.empty();
  }
  if (path.empty() && std::filesystem::is_regular_file(name_or_path)) path = name_or_path;
  if (path.empty()) {
    throw UsageError(
        str("no model '", name_or_path, "': neither a file nor a configuration in ", config_dir));
  }
  ConfigNode root = ConfigNode::read(path);
  if (quick_gelu) {
    root.set(root["model_cfg"].present() ? "model_cfg.quick_gelu=true" : "quick_gelu=true");
  }
  ModelOptions options = read_root(root);
  options.name = std::filesystem::path(name_or_path).stem().string();
  if (path != name_or_path) options.name = name_or_path;
  return options;
}

}  // namespace plumbline
