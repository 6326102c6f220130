#include "formats/torchscript.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "formats/torch_zip.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;
using Tensors = std::map<std::string, at::Tensor>;
constexpr int kDeepest = 32;
constexpr std::size_t kMostAttributes = 1 << 20;

/// Tensor attributes of a module and of the modules in it, under their dotted names. `seen` counts
/// attributes: modules that hold one another in turn could be more than there are names for.
void collect(const PickleValue& module, const std::string& prefix, int depth, std::size_t& seen,
             NamedTensors& out, const std::string& path) {
  if (depth > kDeepest) throw DataError(str(path, ": modules are nested too deeply"));
  for (const auto& [key, value] : module.entries) {
    if (++seen > kMostAttributes) throw DataError(str(path, ": too many modules and tensors"));
    if (key->kind != PickleValue::Kind::text) continue;
    const std::string name = prefix + key->text;
    if (value->kind == PickleValue::Kind::tensor) {
      out.emplace_back(name, value->tensor);
    } else if (value->kind == PickleValue::Kind::dict) {
      collect(*value, name + ".", depth + 1, seen, out, path);
    }
  }
}

class Shapes {
 public:
  Shapes(const NamedTensors& tensors, const std::string& path)
      : tensors_(tensors.begin(), tensors.end()), path_(path) {}

  [[nodiscard]] bool has(const std::string& name) const { return tensors_.contains(name); }
  [[nodiscard]] std::int64_t size(const std::string& name, std::int64_t dim) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end() || found->second.dim() <= dim) {
      throw UsageError(str(path_, ": no tensor '", name, "' of ", dim + 1,
                           " or more dimensions: not one of OpenAI's models"));
    }
    return found->second.size(dim);
  }
  /// How many of PREFIX0ENDING, PREFIX1ENDING ... there are.
  [[nodiscard]] int count(const std::string& prefix, const std::string& ending) const {
    int n = 0;
    while (has(str(prefix, n, ending))) ++n;
    return n;
  }
  /// Side of the grid behind a positional embedding of grid and class token.
  [[nodiscard]] std::int64_t grid(const std::string& name) const {
    const std::int64_t n = size(name, 0) - 1;
    const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(n))));
    if (n < 1 || side * side != n) {
      throw UsageError(str(path_, ": '", name, "' has ", n, " positions, which is no square grid"));
    }
    return side;
  }

 private:
  Tensors tensors_;
  std::string path_;
};

Json vision_of(const Shapes& shapes) {
  if (shapes.has("visual.proj")) {
    const std::int64_t patch = shapes.size("visual.conv1.weight", 3);
    return {{"image_size", patch * shapes.grid("visual.positional_embedding")},
            {"layers", shapes.count("visual.transformer.resblocks.", ".attn.in_proj_weight")},
            {"width", shapes.size("visual.conv1.weight", 0)},
            {"patch_size", patch}};
  }
  Json layers = Json::array();
  for (int i = 1; i <= 4; ++i) {
    layers.push_back(shapes.count(str("visual.layer", i, "."), ".conv1.weight"));
  }
  return {{"image_size", 32 * shapes.grid("visual.attnpool.positional_embedding")},
          {"layers", layers},
          {"width", shapes.size("visual.layer1.0.conv1.weight", 0)},
          {"patch_size", nullptr}};
}

Json schema_of(const Shapes& shapes) {
  const std::int64_t width = shapes.size("ln_final.weight", 0);
  const Json text = {{"context_length", shapes.size("positional_embedding", 0)},
                     {"vocab_size", shapes.size("token_embedding.weight", 0)},
                     {"width", width},
                     {"heads", width / 64},
                     {"layers", shapes.count("transformer.resblocks.", ".attn.in_proj_weight")}};
  return {{"embed_dim", shapes.size("text_projection", 1)},
          {"quick_gelu", true},
          {"vision_cfg", vision_of(shapes)},
          {"text_cfg", text}};
}

}  // namespace

ForeignCheckpoint read_openai_archive(const std::string& path) {
  const Pickle pickle = read_torch_file(path, PickleGlobals::modules);
  ForeignCheckpoint out;
  out.format = "OpenAI TorchScript archive";
  std::size_t seen = 0;
  collect(pickle.root(), "", 0, seen, out.tensors, path);
  out.model = schema_of(Shapes(out.tensors, path)).dump();
  return out;
}

}  // namespace plumbline
