#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/file.h"
#include "formats/huggingface.h"
#include "formats/huggingface_names.h"
#include "formats/torch_zip.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using namespace hugging_face;
using Json = nlohmann::ordered_json;
using Tensors = std::map<std::string, at::Tensor>;

Json read_json(const std::string& path) {
  try {
    return Json::parse(read_file(path));
  } catch (const Json::parse_error& e) {
    throw DataError(str(path, " at byte ", e.byte, ": no JSON"));
  }
}

/// Takes tensors out under one name and gives them another; a missing one is left to the check
/// against the model.
class Renamer {
 public:
  explicit Renamer(Tensors given) : given_(std::move(given)) {}

  [[nodiscard]] at::Tensor take(const std::string& name) {
    const auto found = given_.find(name);
    if (found == given_.end()) return {};
    at::Tensor tensor = found->second;
    given_.erase(found);
    return tensor;
  }
  void rename(const std::string& from, const std::string& to) {
    if (const at::Tensor tensor = take(from); tensor.defined()) out_.emplace_back(to, tensor);
  }
  void transpose(const std::string& from, const std::string& to) {
    const at::Tensor tensor = take(from);
    if (!tensor.defined()) return;
    out_.emplace_back(to, tensor.dim() == 2 ? tensor.t().contiguous() : tensor);
  }
  /// q, k and v one below the other; a part alone keeps its name and so is reported.
  void join(const std::string& from, const std::string& ending, const std::string& to) {
    std::vector<at::Tensor> parts;
    std::vector<std::pair<std::string, at::Tensor>> raw;
    for (const char* part : kQueryKeyValue) {
      const std::string name = from + part + ending;
      const at::Tensor tensor = take(name);
      if (!tensor.defined()) continue;
      raw.emplace_back(name, tensor);
      if (tensor.dim() > 0 && tensor.sizes() == raw.front().second.sizes()) parts.push_back(tensor);
    }
    if (parts.size() == kQueryKeyValue.size()) {
      out_.emplace_back(to, at::cat(parts));
    } else {
      out_.insert(out_.end(), raw.begin(), raw.end());
    }
  }
  [[nodiscard]] NamedTensors finish() {
    out_.insert(out_.end(), given_.begin(), given_.end());
    return std::move(out_);
  }

 private:
  Tensors given_;
  NamedTensors out_;
};

NamedTensors to_open_clip(Tensors given, int vision_layers, int text_layers) {
  Renamer names(std::move(given));
  for (const Pair& pair : kSingle) names.rename(pair.hugging_face, pair.open_clip);
  names.rename(kFinalBias.hugging_face, kFinalBias.open_clip);
  for (const Pair& pair : kTransposed) names.transpose(pair.hugging_face, pair.open_clip);
  for (const Encoder& encoder : encoders(vision_layers, text_layers)) {
    for (int i = 0; i < encoder.layers; ++i) {
      const std::string from = str(encoder.hugging_face, i, "."),
                        to = str(encoder.open_clip, i, ".");
      for (const std::string ending : {".weight", ".bias"}) {
        for (const Pair& pair : kBlock) {
          names.rename(from + pair.hugging_face + ending, to + pair.open_clip + ending);
        }
        names.join(from + "self_attn.", ending, to + "attn.in_proj_" + ending.substr(1));
      }
    }
  }
  return names.finish();
}

/// Weights of the folder: one file, or the files that an index names.
Tensors read_weights(const std::string& folder) {
  Tensors all;
  const auto add = [&](const NamedTensors& tensors, const std::string& path) {
    for (const auto& [name, tensor] : tensors) {
      if (!all.emplace(name, tensor).second) {
        throw DataError(str(path, ": the tensor '", name, "' stands in two files"));
      }
    }
  };
  const std::string single = folder + "/model.safetensors";
  const std::string index = single + ".index.json";
  const std::string torch = folder + "/pytorch_model.bin";
  if (fs::is_regular_file(single)) {
    add(read_safetensors(single).tensors, single);
  } else if (fs::is_regular_file(index)) {
    std::set<std::string> files;
    const Json map = read_json(index).value("weight_map", Json::object());
    for (const auto& [name, file] : map.items()) files.insert(file.get<std::string>());
    for (const std::string& file : files) {
      const std::string path = (fs::path(folder) / fs::path(file).filename()).string();
      add(read_safetensors(path).tensors, path);
    }
  } else if (fs::is_regular_file(torch)) {
    const Pickle pickle = read_torch_file(torch, PickleGlobals::tensors);
    add(tensors_of(pickle.root(), torch), torch);
  } else {
    throw UsageError(str(folder, ": neither model.safetensors nor pytorch_model.bin"));
  }
  return all;
}

/// A part of config.json with the defaults of CLIPModel; older files keep it twice.
Json part_of(const Json& config, const std::string& name, Json defaults) {
  for (const std::string& key : {name, name + "_dict"}) {
    if (const auto part = config.find(key); part != config.end() && part->is_object()) {
      defaults.update(*part);
    }
  }
  return defaults;
}

Json vision_defaults() {
  return {{"hidden_size", 768},        {"intermediate_size", 3072},  {"num_hidden_layers", 12},
          {"num_attention_heads", 12}, {"num_channels", 3},          {"image_size", 224},
          {"patch_size", 32},          {"hidden_act", "quick_gelu"}, {"layer_norm_eps", 1e-5}};
}

Json text_defaults() {
  return {
      {"hidden_size", 512},         {"intermediate_size", 2048},     {"num_hidden_layers", 12},
      {"num_attention_heads", 8},   {"max_position_embeddings", 77}, {"vocab_size", 49408},
      {"hidden_act", "quick_gelu"}, {"layer_norm_eps", 1e-5},        {"eos_token_id", kEndOfText}};
}

/// The activation of a tower as the keys of OpenCLIP's schema.
std::string activation_of(const Json& part, const std::string& where) {
  const std::string name = part.at("hidden_act");
  if (name == "quick_gelu" || name == "gelu") return name;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return "gelu_tanh";
  throw UsageError(str(where, ": hidden_act '", name, "' is not supported"));
}

Json tower(const Json& part, const std::string& where) {
  Json out = {{"width", part.at("hidden_size")}, {"layers", part.at("num_hidden_layers")}};
  // The schema has a ratio, of which the product with the width is cut to an integer.
  const int width = part.at("hidden_size"), inner = part.at("intermediate_size");
  if (width < 1) throw UsageError(str(where, ": hidden_size is ", width));
  double ratio = static_cast<double>(inner) / width;
  if (static_cast<int>(width * ratio) < inner) ratio = std::nextafter(ratio, 1e9);
  out["mlp_ratio"] = ratio;
  if (const double eps = part.at("layer_norm_eps"); eps != 1e-5)
    out["norm_kwargs"] = {{"eps", eps}};
  if (activation_of(part, where) == "gelu_tanh") out["act_kwargs"] = {{"approximate", "tanh"}};
  return out;
}

Json preprocess_of(const std::string& folder) {
  const std::string path = folder + "/preprocessor_config.json";
  if (!fs::is_regular_file(path)) return nullptr;
  const Json config = read_json(path);
  Json out = {{"interpolation", config.value("resample", 3) == 2 ? "bilinear" : "bicubic"}};
  out["resize_mode"] = config.value("do_center_crop", true) ? "shortest" : "squash";
  if (config.contains("image_mean")) out["mean"] = config["image_mean"];
  if (config.contains("image_std")) out["std"] = config["image_std"];
  return out;
}

Json to_schema(const Json& config, const Json& vision, const Json& text, const std::string& path) {
  const std::string activation = activation_of(vision, path);
  if (activation != activation_of(text, path)) {
    throw UsageError(str(path, ": the two towers have different activations"));
  }
  if (vision.at("num_channels") != 3) throw UsageError(str(path, ": num_channels must be 3"));
  Json schema = {{"embed_dim", config.value("projection_dim", 512)}};
  if (activation == "quick_gelu") schema["quick_gelu"] = true;
  Json image = tower(vision, path);
  image["image_size"] = vision.at("image_size");
  image["patch_size"] = vision.at("patch_size");
  const int heads = vision.at("num_attention_heads"), width = vision.at("hidden_size");
  if (heads < 1 || width % heads != 0) {
    throw UsageError(str(path, ": ", heads, " heads do not divide the width ", width));
  }
  image["head_width"] = width / heads;
  schema["vision_cfg"] = image;
  Json caption = tower(text, path);
  caption["context_length"] = text.at("max_position_embeddings");
  caption["vocab_size"] = text.at("vocab_size");
  caption["heads"] = text.at("num_attention_heads");
  // 2 stands in old files, which pool at the largest id whatever they say.
  const int eos = text.at("eos_token_id");
  if (eos != 2 && eos != kEndOfText) {
    caption["pool_type"] = "eos";
    caption["eos_id"] = eos;
  }
  schema["text_cfg"] = caption;
  return schema;
}

void check_type(const Json& config, const std::string& path) {
  if (!config.is_object()) throw DataError(str(path, ": no configuration of a model"));
  const Json type = config.value("model_type", Json());
  if (type == "clip") return;
  throw UsageError(str(path, ": its model_type is ", type.dump(),
                       "; of Hugging Face's models only CLIPModel (\"clip\") is read"));
}

}  // namespace

ForeignCheckpoint read_hugging_face(const std::string& folder) {
  const std::string path = folder + "/" + kConfig;
  ForeignCheckpoint out;
  out.format = "Hugging Face folder";
  try {
    const Json config = read_json(path);
    check_type(config, path);
    const Json vision = part_of(config, "vision_config", vision_defaults());
    const Json text = part_of(config, "text_config", text_defaults());
    const Json schema = to_schema(config, vision, text, path);
    const Json preprocess = preprocess_of(folder);
    out.preprocess_told = !preprocess.is_null();
    out.model = out.preprocess_told
                    ? Json{{"model_cfg", schema}, {"preprocess_cfg", preprocess}}.dump()
                    : schema.dump();
    out.tensors = to_open_clip(read_weights(folder), vision.at("num_hidden_layers"),
                               text.at("num_hidden_layers"));
  } catch (const Json::exception& e) {
    throw DataError(str(path, ": ", e.what()));
  }
  return out;
}

}  // namespace plumbline
