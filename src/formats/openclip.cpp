#include "formats/openclip.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "formats/torch_zip.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Kind = PickleValue::Kind;

constexpr char kHubConfig[] = "open_clip_config.json";
constexpr char kHubWeights[] = "open_clip_model.safetensors";

const PickleValue& required(const PickleValue& dict, const char* key, const std::string& where) {
  const PickleValue* value = dict.find(key);
  if (value == nullptr) throw DataError(str(where, ": no entry '", key, "'"));
  return *value;
}

ForeignOptimizer::Group read_group(const PickleValue& group, const std::string& where) {
  ForeignOptimizer::Group out;
  for (const PickleValue* index : required(group, "params", where).items) {
    if (index->kind != Kind::integer) throw DataError(str(where, ": 'params' are no indices"));
    out.parameters.push_back(index->integer);
  }
  const PickleValue& betas = required(group, "betas", where);
  if (betas.items.size() != 2) throw DataError(str(where, ": 'betas' are not two numbers"));
  out.beta1 = betas.items[0]->number(0);
  out.beta2 = betas.items[1]->number(0);
  out.lr = required(group, "lr", where).number(0);
  out.eps = required(group, "eps", where).number(0);
  out.weight_decay = required(group, "weight_decay", where).number(0);
  return out;
}

ForeignOptimizer::Moments read_moments(const PickleValue& entry, const std::string& where) {
  ForeignOptimizer::Moments out;
  const PickleValue& step = required(entry, "step", where);
  const bool scalar = step.kind == Kind::tensor && step.tensor.numel() == 1;
  out.step = scalar ? step.tensor.to(at::kDouble).item<double>() : step.number(-1);
  out.exp_avg = required(entry, "exp_avg", where).tensor;
  out.exp_avg_sq = required(entry, "exp_avg_sq", where).tensor;
  if (!out.exp_avg.defined() || !out.exp_avg_sq.defined() || !(out.step >= 0)) {
    throw DataError(str(where, ": not the state of AdamW"));
  }
  return out;
}

ForeignOptimizer read_optimizer(const PickleValue& dict, const std::string& path) {
  const std::string where = path + ": optimizer";
  ForeignOptimizer optimizer;
  for (const PickleValue* group : required(dict, "param_groups", where).items) {
    optimizer.groups.push_back(read_group(*group, where));
  }
  for (const auto& [key, entry] : required(dict, "state", where).entries) {
    if (key->kind != Kind::integer) throw DataError(str(where, ": 'state' has no indices"));
    optimizer.state[key->integer] = read_moments(*entry, str(where, ": state ", key->integer));
  }
  return optimizer;
}

void read_training(const PickleValue& root, const std::string& path, ForeignCheckpoint& out) {
  const auto count = [&](const char* key, std::int64_t otherwise) {
    const PickleValue* value = root.find(key);
    return value != nullptr && value->kind == Kind::integer ? value->integer : otherwise;
  };
  out.epoch = count("epoch", 0);
  out.step = count("global_step", -1);
  out.samples = count("samples_seen", 0);
  if (root.find("scaler") != nullptr) {
    out.notes.emplace_back("the gradient scaler's state was left out: there is no fp16 training");
  }
  const PickleValue* average = root.find("state_dict_ema");
  if (average != nullptr && average->kind == Kind::dict) {
    out.average = tensors_of(*average, path + ": state_dict_ema");
  }
  const PickleValue* optimizer = root.find("optimizer");
  if (optimizer != nullptr && optimizer->kind == Kind::dict) {
    out.optimizer = read_optimizer(*optimizer, path);
  }
}

/// OpenCLIP's order of precedence; else the first `.safetensors`, else the first other file of
/// weights.
std::string weights_of_folder(const std::string& folder) {
  for (const char* name :
       {kHubWeights, "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
        "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin",
        "pytorch_model.pth", "model.pth"}) {
    if (fs::is_regular_file(folder + "/" + name)) return folder + "/" + name;
  }
  std::vector<std::string> others;
  for (const auto& entry : fs::directory_iterator(folder)) others.push_back(entry.path());
  std::sort(others.begin(), others.end());
  for (const char* suffix : {".safetensors", ".bin", ".pth", ".pt"}) {
    for (const std::string& path : others) {
      if (path.ends_with(suffix)) return path;
    }
  }
  throw UsageError(str(folder, ": no file of weights beside ", kHubConfig));
}

/// A sentencepiece vocabulary beside the weights.
std::string sentencepiece_of_folder(const std::string& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".model") return entry.path();
  }
  return "";
}

// Optimizer groups.

using Names = std::vector<const TensorShape*>;

/// Group 0 (no decay) and group 1 (decay), each in state-dict order.
std::array<Names, 2> groups_of(const std::vector<TensorShape>& tensors, const std::string& rule,
                               const std::function<bool(const std::string&)>& trained) {
  std::array<Names, 2> groups;
  for (const TensorShape& tensor : tensors) {
    if (!tensor.parameter || !trained(tensor.name)) continue;
    const bool decayed =
        is_decayed(rule, tensor.name, static_cast<std::int64_t>(tensor.shape.size()));
    groups[decayed ? 1 : 0].push_back(&tensor);
  }
  return groups;
}

bool fits(const ForeignOptimizer& optimizer, const std::array<Names, 2>& groups) {
  for (std::size_t g = 0; g < 2; ++g) {
    const std::vector<std::int64_t>& indices = optimizer.groups[g].parameters;
    if (indices.size() != groups[g].size()) return false;
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const auto state = optimizer.state.find(indices[i]);
      if (state == optimizer.state.end()) return false;
      const at::IntArrayRef shape = groups[g][i]->shape;
      const bool same =
          state->second.exp_avg.sizes() == shape && state->second.exp_avg_sq.sizes() == shape;
      if (!same) return false;
    }
  }
  return true;
}

void check_moments(const std::pair<std::string, at::Tensor>& moments, const std::string& where) {
  const auto& [name, tensor] = moments;
  if (!tensor.isfinite().all().item<bool>()) {
    throw DataError(str(where, ": the optimizer's '", name, "' has values that are not finite"));
  }
  if (name.starts_with("exp_avg_sq.") && tensor.lt(0).any().item<bool>()) {
    throw DataError(str(where, ": the optimizer's '", name, "' has negative squares"));
  }
}

FittedOptimizer named(const ForeignOptimizer& optimizer, const std::array<Names, 2>& groups,
                      const std::string& rule, const std::string& where) {
  FittedOptimizer out;
  double step = -1;
  for (std::size_t g = 0; g < 2; ++g) {
    for (std::size_t i = 0; i < groups[g].size(); ++i) {
      const auto& moments = optimizer.state.at(optimizer.groups[g].parameters[i]);
      if (step >= 0 && moments.step != step) {
        throw UsageError(str(where, ": the optimizer made ", step, " steps with one parameter and ",
                             moments.step, " with ", groups[g][i]->name));
      }
      step = moments.step;
      for (const auto& [kind, tensor] :
           {std::pair("exp_avg.", moments.exp_avg), std::pair("exp_avg_sq.", moments.exp_avg_sq)}) {
        out.moments.emplace_back(kind + groups[g][i]->name, tensor.to(at::kFloat).contiguous());
        check_moments(out.moments.back(), where);
      }
    }
  }
  const ForeignOptimizer::Group& decayed = optimizer.groups[1];
  out.options.lr = decayed.lr;
  out.options.beta1 = decayed.beta1;
  out.options.beta2 = decayed.beta2;
  out.options.eps = decayed.eps;
  out.options.weight_decay = decayed.weight_decay;
  out.options.decay_rule = rule;
  out.applied_steps = static_cast<std::int64_t>(step);
  return out;
}

/// One entry of param_groups, as torch.optim.AdamW of 2.11 writes it.
void write_group(TorchWriter& out, const OptimizerOptions& options, bool decayed,
                 std::int64_t first, std::size_t count) {
  const auto put = [&](const char* key, double value) {
    out.text(key);
    out.real(value);
  };
  out.begin_dict();
  put("weight_decay", decayed ? options.weight_decay : 0);
  put("lr", options.lr);
  out.text("betas");
  out.begin_tuple();
  out.real(options.beta1);
  out.real(options.beta2);
  out.end_tuple();
  put("eps", options.eps);
  for (const char* key : {"amsgrad", "maximize", "capturable", "differentiable"}) {
    out.text(key);
    out.boolean(false);
  }
  for (const char* key : {"foreach", "fused"}) {
    out.text(key);
    out.none();
  }
  out.text("decoupled_weight_decay");
  out.boolean(true);
  out.text("params");
  out.begin_list();
  for (std::size_t i = 0; i < count; ++i) out.integer(first + static_cast<std::int64_t>(i));
  out.end_list();
  out.end_dict();
}

void write_state(TorchWriter& out, const char* key, const NamedTensors& tensors) {
  out.text(key);
  out.begin_dict();
  for (const auto& [name, tensor] : tensors) {
    out.text("module." + name);
    out.tensor(tensor);
  }
  out.end_dict();
}

void write_optimizer(TorchWriter& out, const TrainingState& state,
                     const std::vector<TensorShape>& tensors) {
  std::map<std::string, at::Tensor> moments(state.moments.begin(), state.moments.end());
  const auto groups = groups_of(tensors, state.optimizer.decay_rule, [&](const std::string& name) {
    return moments.contains("exp_avg." + name);
  });
  const at::Tensor step = at::full({}, static_cast<double>(state.applied_steps), at::kFloat);
  out.begin_dict();
  out.text("state");
  out.begin_dict();
  std::int64_t index = 0;
  for (const Names& group : groups) {
    for (const TensorShape* tensor : group) {
      out.integer(index++);
      out.begin_dict();
      out.text("step");
      out.tensor(step);
      for (const std::string kind : {"exp_avg", "exp_avg_sq"}) {
        out.text(kind);
        out.tensor(moments.at(kind + "." + tensor->name));
      }
      out.end_dict();
    }
  }
  out.end_dict();
  out.text("param_groups");
  out.begin_list();
  write_group(out, state.optimizer, false, 0, groups[0].size());
  write_group(out, state.optimizer, true, static_cast<std::int64_t>(groups[0].size()),
              groups[1].size());
  out.end_list();
  out.end_dict();
}

Json hub_config(const ExportedModel& model) {
  Json config = Json::parse(model.options.source_json);
  // With a tokenizer's name OpenCLIP would look for that tokenizer's files.
  if (model.clip_tokenizer) {
    config["text_cfg"].erase("hf_tokenizer_name");
    if (!model.clean.empty()) config["text_cfg"]["tokenizer_kwargs"]["clean"] = model.clean;
  }
  const PreprocessOptions& p = model.preprocess;
  const char* mode = p.mode == ResizeMode::squash    ? "squash"
                     : p.mode == ResizeMode::longest ? "longest"
                                                     : "shortest";
  return {{"model_cfg", config},
          {"preprocess_cfg",
           {{"mean", shortest_doubles(p.mean)},
            {"std", shortest_doubles(p.std)},
            {"interpolation", p.filter == Filter::bilinear ? "bilinear" : "bicubic"},
            {"resize_mode", mode}}}};
}

}  // namespace

std::vector<double> shortest_doubles(const std::array<float, 3>& values) {
  std::vector<double> out;
  for (const float value : values) {
    std::array<char, 32> text{};
    const char* end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    double& number = out.emplace_back();
    std::from_chars(text.data(), end, number);
  }
  return out;
}

ForeignCheckpoint read_openclip_file(const std::string& path) {
  const Pickle pickle = read_torch_file(path, PickleGlobals::tensors);
  const PickleValue& root = pickle.root();
  ForeignCheckpoint out;
  const PickleValue* state = root.find("state_dict");
  if (state == nullptr) {
    out.format = "state dict";
    out.tensors = tensors_of(root, path);
    return out;
  }
  out.format = "OpenCLIP training file";
  out.tensors = tensors_of(*state, path + ": state_dict");
  read_training(root, path, out);
  return out;
}

ForeignCheckpoint read_openclip_safetensors(const std::string& path) {
  ForeignCheckpoint out;
  out.format = "safetensors file";
  out.tensors = read_safetensors(path).tensors;
  return out;
}

ForeignCheckpoint read_openclip_folder(const std::string& folder) {
  const std::string weights = weights_of_folder(folder);
  ForeignCheckpoint out = weights.ends_with(".safetensors") ? read_openclip_safetensors(weights)
                                                            : read_openclip_file(weights);
  out.format = "OpenCLIP hub folder";
  out.model = read_file(folder + "/" + kHubConfig);
  const Json config = Json::parse(out.model, nullptr, false);
  out.preprocess_told = config.is_object() && config.contains("preprocess_cfg");
  out.tokenizer_file = sentencepiece_of_folder(folder);
  return out;
}

FittedOptimizer fit_optimizer(const ForeignOptimizer& optimizer,
                              const std::vector<TensorShape>& tensors, const std::string& where) {
  const auto all = [](const std::string&) { return true; };
  const auto image = [](const std::string& name) { return name.starts_with("visual."); };
  const auto text = [](const std::string& name) {
    return !name.starts_with("visual.") && !name.starts_with("logit_");
  };
  if (optimizer.groups.size() == 2) {
    for (const std::string rule : {"openclip3", "openclip4"}) {
      for (const std::function<bool(const std::string&)>& trained :
           {std::function<bool(const std::string&)>(all),
            std::function<bool(const std::string&)>([&](const auto& n) { return !image(n); }),
            std::function<bool(const std::string&)>([&](const auto& n) { return !text(n); })}) {
        const auto groups = groups_of(tensors, rule, trained);
        if (fits(optimizer, groups)) return named(optimizer, groups, rule, where);
      }
    }
  }
  std::string sizes;
  for (const auto& group : optimizer.groups) {
    sizes += str(sizes.empty() ? "" : " and ", group.parameters.size());
  }
  throw UsageError(str(where, ": the optimizer's groups of ", sizes, " parameters and ",
                       optimizer.state.size(), " states fit neither openclip3 nor openclip4 with ",
                       "all parameters or one tower locked; save the state_dict alone to import ",
                       "the weights"));
}

void write_openclip_folder(const std::string& folder, const ExportedModel& model) {
  write_safetensors(folder + "/" + kHubWeights, {model.tensors, {}});
  write_file_atomically(folder + "/" + kHubConfig, hub_config(model).dump(2) + "\n");
}

void write_openclip_training(const std::string& path, const ExportedModel& model,
                             const TrainingState& state) {
  if (state.moments.empty()) {
    throw UsageError("the checkpoint holds no optimizer state: export the weights alone instead");
  }
  TorchWriter out;
  const auto count = [&](const char* key, std::int64_t value) {
    out.text(key);
    out.integer(value);
  };
  out.begin_dict();
  count("epoch", state.epoch);
  out.text("name");
  out.text(state.name);
  write_state(out, "state_dict", model.tensors);
  if (!state.average.empty()) write_state(out, "state_dict_ema", state.average);
  out.text("optimizer");
  write_optimizer(out, state, tensor_shapes(model.options));
  count("global_step", state.step);
  count("samples_seen", state.samples);
  out.end_dict();
  out.close(path);
}

}  // namespace plumbline
