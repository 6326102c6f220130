#include <zlib.h>

#include <map>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "formats/huggingface.h"
#include "formats/huggingface_names.h"
#include "plumbline/error.h"
#include "plumbline/handle.h"

namespace plumbline {
namespace {

using namespace hugging_face;
using Json = nlohmann::ordered_json;

/// What CLIPModel does not have, one reason each.
std::vector<std::string> obstacles(const ExportedModel& model) {
  const VisionOptions& v = model.options.vision;
  const TextOptions& t = model.options.text;
  std::vector<std::string> why;
  const auto refuse = [&](bool condition, const std::string& reason) {
    if (condition) why.push_back(reason);
  };
  refuse(!v.resnet_layers.empty(), "the image tower is a ModifiedResNet");
  refuse(!v.siglip_trunk.empty(), "the image tower is a SigLIP trunk");
  refuse(v.no_ln_pre, "the image tower has no ln_pre");
  refuse(v.pool_type != "tok" || v.final_ln_after_pool,
         "the image tower does not pool the class token before its last norm");
  refuse(v.ls_init_value.has_value() || t.ls_init_value.has_value(), "it has LayerScale");
  refuse(v.image_height != v.image_width, "images are not square");
  refuse(t.no_causal_mask, "text attention is not causal");
  refuse(t.pool_type != "argmax" && t.pool_type != "eos", "text pools '" + t.pool_type + "'");
  refuse(t.pool_type == "eos" && t.eos_id == 2, "text pools at eos_id 2, which means argmax there");
  refuse(t.proj_bias || t.proj_type != "linear", "the text projection is not a plain matrix");
  refuse(v.norm_eps != t.norm_eps || v.norm_eps != 1e-5, "norms have another eps than 1e-5");
  refuse(v.activation != t.activation || v.activation == "gelu_tanh",
         "its activation is neither gelu nor quick_gelu in both towers");
  refuse(model.options.init_logit_bias.has_value(), "it has a logit_bias");
  refuse(model.options.nonscalar_logit_scale, "its logit_scale is a vector");
  refuse(!model.clip_tokenizer, "its tokenizer is not CLIP's");
  refuse(!model.clean.empty() && model.clean != "lower",
         "its tokenizer cleans captions by '" + model.clean + "'");
  return why;
}

void check_exportable(const ExportedModel& model) {
  const std::vector<std::string> why = obstacles(model);
  if (why.empty()) return;
  std::string message = "Hugging Face's CLIPModel cannot hold this model:";
  for (const std::string& reason : why) message += "\n  " + reason;
  throw UsageError(message);
}

NamedTensors to_hugging_face(const ExportedModel& model) {
  std::map<std::string, at::Tensor> given;
  for (const auto& [name, tensor] : model.tensors) {
    // The custom-text layout has the text tower under a prefix.
    given.emplace(name.starts_with("text.") ? name.substr(5) : name, tensor);
  }
  NamedTensors out;
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    out.emplace_back(name, tensor.contiguous());
  };
  for (const Pair& pair : kSingle) add(pair.hugging_face, given.at(pair.open_clip));
  add(kFinalBias.hugging_face, given.at(kFinalBias.open_clip));
  for (const Pair& pair : kTransposed) add(pair.hugging_face, given.at(pair.open_clip).t());
  for (const Encoder& encoder : encoders(model.options.vision.layers, model.options.text.layers)) {
    for (int i = 0; i < encoder.layers; ++i) {
      const std::string to = str(encoder.hugging_face, i, "."),
                        from = str(encoder.open_clip, i, ".");
      for (const std::string ending : {".weight", ".bias"}) {
        for (const Pair& pair : kBlock) {
          add(to + pair.hugging_face + ending, given.at(from + pair.open_clip + ending));
        }
        const auto parts = given.at(from + "attn.in_proj_" + ending.substr(1)).chunk(3);
        for (std::size_t k = 0; k < parts.size(); ++k) {
          add(to + "self_attn." + kQueryKeyValue[k] + ending, parts[k].clone());
        }
      }
    }
  }
  return out;
}

Json config_json(const ExportedModel& model) {
  const VisionOptions& v = model.options.vision;
  const TextOptions& t = model.options.text;
  const auto inner = [](int width, double ratio) { return static_cast<int>(width * ratio); };
  const Json vision = {{"model_type", "clip_vision_model"},
                       {"hidden_size", v.width},
                       {"intermediate_size", inner(v.width, v.mlp_ratio)},
                       {"num_hidden_layers", v.layers},
                       {"num_attention_heads", v.width / v.head_width},
                       {"num_channels", 3},
                       {"image_size", v.image_height},
                       {"patch_size", v.patch_size},
                       {"hidden_act", v.activation},
                       {"layer_norm_eps", v.norm_eps},
                       {"projection_dim", model.options.embed_dim}};
  const Json text = {{"model_type", "clip_text_model"},
                     {"hidden_size", t.width},
                     {"intermediate_size", inner(t.width, t.mlp_ratio)},
                     {"num_hidden_layers", t.layers},
                     {"num_attention_heads", t.heads},
                     {"max_position_embeddings", t.context_length},
                     {"vocab_size", t.vocab_size},
                     {"hidden_act", t.activation},
                     {"layer_norm_eps", t.norm_eps},
                     {"bos_token_id", kStartOfText},
                     {"eos_token_id", t.pool_type == "eos" ? t.eos_id : kEndOfText},
                     {"pad_token_id", 1},
                     {"projection_dim", model.options.embed_dim}};
  return {{"architectures", {"CLIPModel"}},
          {"model_type", "clip"},
          {"projection_dim", model.options.embed_dim},
          {"logit_scale_init_value", model.options.init_logit_scale},
          {"torch_dtype", "float32"},
          {"vision_config", vision},
          {"text_config", text}};
}

Json preprocessor_json(const PreprocessOptions& p) {
  const bool shortest = p.mode == ResizeMode::shortest;
  if (p.mode == ResizeMode::longest) {
    throw UsageError("Hugging Face's CLIPImageProcessor has no resize_mode 'longest'");
  }
  const Json size =
      shortest ? Json{{"shortest_edge", p.height}} : Json{{"height", p.height}, {"width", p.width}};
  return {{"image_processor_type", "CLIPImageProcessor"},
          {"do_resize", true},
          {"size", size},
          {"resample", p.filter == Filter::bilinear ? 2 : 3},
          {"do_center_crop", shortest},
          {"crop_size", {{"height", p.height}, {"width", p.width}}},
          {"do_rescale", true},
          {"rescale_factor", 1.0 / 255},
          {"do_normalize", true},
          {"do_convert_rgb", true},
          {"image_mean", shortest_doubles(p.mean)},
          {"image_std", shortest_doubles(p.std)}};
}

std::vector<std::string> merge_lines(const std::string& vocabulary) {
  constexpr std::size_t kMerges = 48894;
  const Handle<gzFile_s, gzclose> file(gzopen(vocabulary.c_str(), "rb"));
  if (!file) throw DataError(str("cannot open ", vocabulary));
  std::vector<std::string> lines;
  std::array<char, 4096> line{};
  while (lines.size() < kMerges + 1 && gzgets(file.get(), line.data(), line.size()) != nullptr) {
    lines.emplace_back(line.data());
    if (lines.back().ends_with('\n')) lines.back().pop_back();
  }
  if (lines.size() != kMerges + 1) throw DataError(str(vocabulary, ": too few lines"));
  lines.erase(lines.begin());  // the version
  return lines;
}

std::string utf8_of(unsigned code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

/// GPT-2's symbols of bytes: those that print, in order, then the others as U+0100 and on.
std::vector<std::string> byte_symbols() {
  std::vector<std::string> symbols;
  unsigned others = 0;
  for (unsigned b = 0; b < 256; ++b) {
    const bool prints = (b >= '!' && b <= '~') || (b >= 0xA1 && b != 0xAD);
    if (prints) symbols.push_back(utf8_of(b));
    others += prints ? 0 : 1;
  }
  for (unsigned i = 0; i < others; ++i) symbols.push_back(utf8_of(0x100 + i));
  return symbols;
}

void write_tokenizer(const std::string& folder, const std::string& vocabulary, int context) {
  const std::vector<std::string> merges = merge_lines(vocabulary);
  std::vector<std::string> names = byte_symbols();
  for (std::size_t i = 0; i < 256; ++i) names.push_back(names[i] + "</w>");
  std::string text = "#version: 0.2\n";
  for (const std::string& merge : merges) {
    text += merge + "\n";
    names.push_back(merge);
    names.back().erase(merge.find(' '), 1);
  }
  names.emplace_back("<|startoftext|>");
  names.emplace_back("<|endoftext|>");
  std::map<std::string, std::size_t> ids;
  for (std::size_t i = 0; i < names.size(); ++i) ids[names[i]] = i;  // the later one counts
  const nlohmann::json vocab = ids;
  write_file_atomically(folder + "/vocab.json", vocab.dump() + "\n");
  write_file_atomically(folder + "/merges.txt", text);
  const Json config = {{"tokenizer_class", "CLIPTokenizer"}, {"model_max_length", context},
                       {"bos_token", "<|startoftext|>"},     {"eos_token", "<|endoftext|>"},
                       {"unk_token", "<|endoftext|>"},       {"pad_token", "<|endoftext|>"}};
  write_file_atomically(folder + "/tokenizer_config.json", config.dump(2) + "\n");
}

}  // namespace

void write_hugging_face(const std::string& folder, const ExportedModel& model,
                        const std::string& vocabulary) {
  check_exportable(model);
  write_safetensors(folder + "/model.safetensors", {to_hugging_face(model), {}});
  write_file_atomically(folder + "/" + kConfig, config_json(model).dump(2) + "\n");
  write_file_atomically(folder + "/preprocessor_config.json",
                        preprocessor_json(model.preprocess).dump(2) + "\n");
  write_tokenizer(folder, vocabulary, model.options.text.context_length);
}

}  // namespace plumbline
