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
  if (is_hugging_face(folder)) return read_hugging_face(folder);
  throw UsageError(str(folder, ": neither open_clip_config.json nor the config.json of a ",
                       "CLIPModel stands there"));
}

ForeignCheckpoint read_foreign(const std::string& path) {
  if (fs::is_directory(path)) return read_folder(path);
  if (!fs::is_regular_file(path)) throw UsageError(str(path, ": no such file or folder"));
  if (path.ends_with(".safetensors")) return read_openclip_safetensors(path);
  if (!is_zip(path)) return read_openclip_file(path);  // says what is wrong
  if (path.ends_with(".npz") || is_npz(path)) return read_siglip_npz(path);
  return is_torchscript(path) ? read_openai_archive(path) : read_openclip_file(path);
}

bool has_tensor(const ForeignCheckpoint& foreign, const std::string& name) {
  return std::any_of(foreign.tensors.begin(), foreign.tensors.end(), [&](const auto& entry) {
    return entry.first == name || entry.first == "module." + name;
  });
}

ModelOptions options_of(ForeignCheckpoint& foreign, const std::string& path,
                        const std::string& model) {
  if (model.empty() && foreign.model.empty()) {
    throw UsageError(str(path, ": a ", foreign.format,
                         " does not say which model it holds; name it with --model"));
  }
  ModelOptions options = model.empty() ? parse_model(foreign.model, path) : read_model(model);
  if (model.empty()) {
    options.name = fs::path(path).stem().string();
  } else if (foreign.quick_gelu && options.text.activation != "quick_gelu") {
    throw UsageError(str(path, ": a ", foreign.format, " has QuickGELU, the model ", model,
                         " has not; leave --model out, or take ", model, "-quickgelu"));
  }
  const bool told = model.empty() && foreign.preprocess_told;
  if (!told && !options.vision.siglip_trunk.empty()) {
    options.preprocess = preprocess_family("siglip", options.vision.image_height);
  }
  if (!options.init_logit_bias && has_tensor(foreign, "logit_bias")) {
    // The sigmoid loss gives a bias to any model, whatever its configuration says.
    options.init_logit_bias = 0.0;
    foreign.notes.emplace_back("the file has a logit_bias: the model was given one");
  }
  return options;
}

std::string tokenizer_name(const ModelOptions& options) {
  const Json config = Json::parse(options.source_json);
  const Json& text = config.at("text_cfg");
  const auto name = text.find("hf_tokenizer_name");
  return name != text.end() && name->is_string() ? name->get<std::string>() : "";
}

}  // namespace

ImportedModel import_model(const std::string& path, const std::string& model) {
  ForeignCheckpoint foreign = read_foreign(path);
  const ModelOptions options = options_of(foreign, path, model);
  ImportedModel out;
  out.format = foreign.format;
  out.model = make_model(options, 0);
  out.notes = load_state_dict(*out.model, foreign.tensors, path);
  out.notes.insert(out.notes.end(), foreign.notes.begin(), foreign.notes.end());
  out.tokenizer_name = tokenizer_name(options);
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
