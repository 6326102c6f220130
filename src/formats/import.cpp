#include "formats/import.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "formats/huggingface.h"
#include "formats/openclip.h"
#include "formats/siglip_npz.h"
#include "formats/torch_zip.h"
#include "formats/torchscript.h"
#include "formats/zip_file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

ForeignCheckpoint read_folder(const std::string& folder) {
  if (fs::is_regular_file(folder + "/open_clip_config.json")) return read_openclip_folder(folder);
  if (fs::is_regular_file(folder + "/config.json")) return read_hugging_face(folder);
  const bool own = fs::is_regular_file(folder + "/manifest.json");
  throw UsageError(str(folder, own ? ": this is a checkpoint of plumbline already"
                                   : ": neither open_clip_config.json nor config.json is there"));
}

ForeignCheckpoint read_foreign(const std::string& path) {
  if (fs::is_directory(path)) return read_folder(path);
  if (!fs::is_regular_file(path)) throw UsageError(str(path, ": no such file or folder"));
  if (path.ends_with(".safetensors")) return read_openclip_safetensors(path);
  if (!is_zip(path)) return read_openclip_file(path);  // says what is wrong
  if (path.ends_with(".npz") || is_npz(path)) return read_siglip_npz(path);
  return is_torchscript(path) ? read_openai_archive(path) : read_openclip_file(path);
}

/// The last part of the path, without the ending of a file.
std::string name_of(const std::string& path) {
  const fs::path plain = fs::path(path).lexically_normal();
  const fs::path last = plain.has_filename() ? plain : plain.parent_path();
  return fs::is_directory(last) ? last.filename().string() : last.stem().string();
}

bool has_tensor(const ForeignCheckpoint& foreign, const std::string& name) {
  return std::any_of(foreign.tensors.begin(), foreign.tensors.end(), [&](const auto& entry) {
    return entry.first == name || entry.first == "module." + name;
  });
}

/// What the file says about activations must hold for the model that was asked for: weights do not
/// show it, and features would be wrong without a word.
void check_activations(const ForeignCheckpoint& foreign, const ModelOptions& told,
                       const ModelOptions& options, const std::string& path,
                       const std::string& model) {
  const bool same_text = told.text.activation == options.text.activation;
  const bool same_image =
      told.vision.activation == options.vision.activation || !told.vision.resnet_layers.empty();
  if (same_text && same_image) return;
  throw UsageError(str(path, ": this ", foreign.format, " has the activations ",
                       told.vision.activation, " and ", told.text.activation, " (image, text), ",
                       "the model ", model, " has ", options.vision.activation, " and ",
                       options.text.activation, "; leave --model out, or name another (",
                       "NAME-quickgelu is NAME with QuickGELU)"));
}

/// `named` is the model of --model, if any.
ModelOptions options_of(ForeignCheckpoint& foreign, const std::string& path,
                        const std::optional<ModelOptions>& named) {
  if (!named && foreign.model.empty()) {
    throw UsageError(str(path, ": a ", foreign.format,
                         " does not say which model it holds; name it with --model"));
  }
  ModelOptions options = named ? *named : ModelOptions();
  if (!foreign.model.empty()) {
    const ModelOptions told = parse_model(foreign.model, path);
    if (named) {
      check_activations(foreign, told, options, path, options.name);
      if (foreign.preprocess_told) options.preprocess = told.preprocess;
      options.preprocess.height = options.vision.image_height;
      options.preprocess.width = options.vision.image_width;
    } else {
      options = told;
      options.name = name_of(path);
    }
  }
  if (!foreign.preprocess_told && !options.vision.siglip_trunk.empty()) {
    options.preprocess = preprocess_family("siglip", options.vision.image_height);
  }
  if (!options.init_logit_bias && has_tensor(foreign, "logit_bias")) {
    // The sigmoid loss gives a bias to any model, whatever its configuration says.
    options.init_logit_bias = 0.0;
    foreign.notes.emplace_back("the file has a logit_bias: the model was given one");
  }
  return options;
}

/// Bytes of a file, or of all files of a folder.
double bytes_on_disk(const std::string& path) {
  if (!fs::is_directory(path)) return static_cast<double>(fs::file_size(path));
  double bytes = 0;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.is_regular_file()) bytes += static_cast<double>(entry.file_size());
  }
  return bytes;
}

/// Names and shapes are compared with a model that was made: none is made that is far larger than
/// what its weights stand in, so that a wrong configuration cannot take all memory.
void check_size(const ModelOptions& options, const std::string& path) {
  constexpr double kSmall = 1 << 28;
  double values = 0;
  for (const TensorShape& tensor : tensor_shapes(options)) {
    double count = 1;
    for (const std::int64_t n : tensor.shape) count *= static_cast<double>(n);
    values += count;
  }
  const double bytes = bytes_on_disk(path);
  if (values < kSmall || values <= 4 * bytes) return;
  throw UsageError(str(path, ": the model ", options.name, " has ", values,
                       " parameters, the file ", bytes, " bytes"));
}

/// A text of the configuration's text_cfg, or of the mapping `inner` there.
std::string text_setting(const ModelOptions& options, const std::string& inner,
                         const std::string& key) {
  Json node = Json::parse(options.source_json).at("text_cfg");
  if (!inner.empty()) node = node.value(inner, Json());
  if (!node.is_object() || !node.contains(key) || !node[key].is_string()) return "";
  return node[key].get<std::string>();
}

}  // namespace

ImportedModel import_model(const std::string& path, const std::string& model) {
  std::optional<ModelOptions> named;
  if (!model.empty()) named = read_model(model);  // a wrong name is told before a long read
  ForeignCheckpoint foreign = read_foreign(path);
  const ModelOptions options = options_of(foreign, path, named);
  ImportedModel out;
  out.format = foreign.format;
  check_size(options, path);
  out.model = make_model(options, 0);
  out.notes = load_state_dict(*out.model, foreign.tensors, path);
  if (!foreign.average.empty()) {
    const auto average = make_model(options, 0);
    (void)load_state_dict(*average, foreign.average, path + ": state_dict_ema");
    out.average = average->state_dict();
    out.notes.emplace_back(
        "the averaged weights (state_dict_ema) came along: they are what "
        "evaluate, embed and export take");
  }
  out.notes.insert(out.notes.end(), foreign.notes.begin(), foreign.notes.end());
  out.tokenizer_name = text_setting(options, "", "hf_tokenizer_name");
  out.tokenizer_clean = text_setting(options, "tokenizer_kwargs", "clean");
  out.tokenizer_file = foreign.tokenizer_file;
  out.epoch = foreign.epoch;
  out.samples = foreign.samples;
  if (foreign.optimizer && !foreign.optimizer->state.empty()) {
    FittedOptimizer fitted = fit_optimizer(*foreign.optimizer, tensor_shapes(options), path);
    out.moments = std::move(fitted.moments);
    out.optimizer = fitted.options;
    out.applied_steps = fitted.applied_steps;
  }
  out.step = foreign.step >= 0 ? foreign.step : out.applied_steps;
  return out;
}

}  // namespace plumbline
