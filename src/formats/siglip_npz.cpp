#include "formats/siglip_npz.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "formats/zip_file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using Arrays = std::map<std::string, at::Tensor>;
constexpr std::string_view kSuffix = ".npy";
constexpr std::int64_t kMostLayers = 1024;

struct TypeName {
  std::string_view name;
  at::ScalarType type;
};
/// bfloat16 has no name in NumPy: JAX writes it as two bytes of no type.
constexpr std::array<TypeName, 8> kTypes = {{{"<f8", at::kDouble},
                                             {"<f4", at::kFloat},
                                             {"<f2", at::kHalf},
                                             {"|V2", at::kBFloat16},
                                             {"<V2", at::kBFloat16},
                                             {"<i8", at::kLong},
                                             {"<i4", at::kInt},
                                             {"|u1", at::kByte}}};

/// The text behind 'KEY': in the header, up to one of `ends`.
std::string_view value_of(std::string_view header, const std::string& key, const char* ends,
                          const std::string& where) {
  const std::string quoted = "'" + key + "':";
  const std::size_t at = header.find(quoted);
  if (at == std::string_view::npos) throw DataError(str(where, ": its header has no ", quoted));
  const std::size_t begin = header.find_first_not_of(' ', at + quoted.size());
  const std::size_t end = header.find_first_of(ends, begin);
  if (begin == std::string_view::npos || end == std::string_view::npos) {
    throw DataError(str(where, ": its header ends behind ", quoted));
  }
  return header.substr(begin, end - begin);
}

std::vector<std::int64_t> shape_of(std::string_view text, const std::string& where) {
  std::vector<std::int64_t> shape;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '(' || text[at] == ',' || text[at] == ' ') {
      ++at;
      continue;
    }
    std::int64_t n = 0;
    const auto [end, failed] = std::from_chars(text.data() + at, text.data() + text.size(), n);
    if (failed != std::errc() || n < 0) throw DataError(str(where, ": no shape: ", text));
    shape.push_back(n);
    at = static_cast<std::size_t>(end - text.data());
  }
  return shape;
}

std::vector<std::int64_t> reversed_axes(std::int64_t dim) {
  std::vector<std::int64_t> axes;
  for (std::int64_t i = dim; i-- > 0;) axes.push_back(i);
  return axes;
}

/// NumPy's .npy: magic, version, length of the header (2 bytes, from version 2 on 4), the header as
/// a Python dict, the values.
at::Tensor read_npy(const ZipBytes& bytes, const std::string& where) {
  const std::string_view all(*bytes);
  if (all.size() < 12 || !all.starts_with("\x93NUMPY")) throw DataError(str(where, ": no .npy"));
  const auto byte = [&](std::size_t i) { return std::size_t{static_cast<unsigned char>(all[i])}; };
  const bool wide = byte(6) >= 2;
  const std::size_t length = byte(8) | byte(9) << 8 | (wide ? byte(10) << 16 | byte(11) << 24 : 0);
  const std::size_t data = length + (wide ? 12 : 10);
  if (data > all.size()) throw DataError(str(where, ": ends within its header"));
  const std::string_view header = all.substr(0, data).substr(wide ? 12 : 10);
  std::string_view type_name = value_of(header, "descr", ",", where);
  if (type_name.size() > 2) type_name = type_name.substr(1, type_name.size() - 2);
  const auto* type = std::find_if(kTypes.begin(), kTypes.end(),
                                  [&](const TypeName& t) { return t.name == type_name; });
  if (type == kTypes.end()) throw DataError(str(where, ": the dtype ", type_name, " is not read"));
  std::vector<std::int64_t> shape = shape_of(value_of(header, "shape", ")", where), where);
  const bool fortran = value_of(header, "fortran_order", ",}", where) != "False";
  if (fortran) std::reverse(shape.begin(), shape.end());  // the first index runs fastest
  auto size = static_cast<std::int64_t>(c10::elementSize(type->type));
  for (const std::int64_t n : shape) {
    if (__builtin_mul_overflow(size, n, &size)) throw DataError(str(where, ": too large a shape"));
  }
  if (static_cast<std::size_t>(size) != all.size() - data) {
    throw DataError(plumbline::str(where, " at byte ", data, ": ", all.size() - data,
                                   " bytes of values, ", at::IntArrayRef(shape), " needs ", size));
  }
  // The header's length need not keep the values aligned: a copy of its own.
  at::Tensor tensor = at::empty(shape, at::dtype(type->type));
  std::copy_n(all.data() + data, size, static_cast<char*>(tensor.data_ptr()));
  return fortran ? tensor.permute(reversed_axes(tensor.dim())).contiguous() : tensor;
}

Arrays read_arrays(const std::string& path) {
  Arrays arrays;
  const auto records =
      read_zip(path, [](const std::string& name) { return name.ends_with(kSuffix); });
  bool prefixed = false;
  for (const auto& [name, bytes] : records) {
    prefixed = prefixed || name == "params/b.npy";
  }
  for (const auto& [name, bytes] : records) {
    std::string key = name.substr(0, name.size() - kSuffix.size());
    if (prefixed && key.starts_with("params/")) key.erase(0, sizeof("params/") - 1);
    arrays.emplace(key, read_npy(bytes, str(path, ": record '", name, "'")));
  }
  return arrays;
}

/// JAX's matrices have the input first; heads stand apart: [in, heads, d] and [heads, d, out].
at::Tensor linear(const at::Tensor& kernel) { return kernel.t().contiguous(); }
at::Tensor from_heads(const at::Tensor& kernel) { return kernel.flatten(1).t().contiguous(); }
at::Tensor to_heads(const at::Tensor& kernel) { return kernel.flatten(0, 1).t().contiguous(); }
at::Tensor flat(const at::Tensor& bias) { return bias.reshape({-1}); }
at::Tensor same(const at::Tensor& tensor) { return tensor; }

class Mapping {
 public:
  explicit Mapping(Arrays arrays) : arrays_(std::move(arrays)) {}
  [[nodiscard]] NamedTensors run();

 private:
  using Change = at::Tensor (*)(const at::Tensor&);
  [[nodiscard]] at::Tensor take(const std::string& name) {
    const auto found = arrays_.find(name);
    if (found == arrays_.end()) return {};
    at::Tensor tensor = found->second;
    arrays_.erase(found);
    return tensor;
  }
  /// An array of other than `dim` dimensions (-1: any) keeps its name and so is reported.
  void put(const std::string& from, const std::string& to, Change change, std::int64_t dim = -1) {
    const auto found = arrays_.find(from);
    if (found == arrays_.end() || (dim >= 0 && found->second.dim() != dim)) return;
    out_.emplace_back(to, change(take(from)));
  }
  void norm(const std::string& from, const std::string& to) {
    put(from + "scale", to + "weight", same);
    put(from + "bias", to + "bias", same);
  }
  void dense(const std::string& from, const std::string& to) {
    put(from + "kernel", to + "weight", linear, 2);
    put(from + "bias", to + "bias", same);
  }
  void join(const std::string& from, std::initializer_list<const char*> parts,
            const std::string& weight, const std::string& bias);
  void mlp(const std::string& from, const std::string& first, const std::string& second) {
    dense(from + "MlpBlock_0/Dense_0/", first);
    dense(from + "MlpBlock_0/Dense_1/", second);
  }
  void output(const std::string& from, const std::string& to) {
    put(from + "out/kernel", to + "weight", to_heads, 3);
    put(from + "out/bias", to + "bias", same);
  }
  void unstack(const std::string& encoder);
  void image_block(const std::string& from, const std::string& to);
  void text_block(const std::string& from, const std::string& to);
  void image_tower();
  void text_tower();

  Arrays arrays_;
  NamedTensors out_;
};

/// Query, key and value one below the other; as they are when one is missing.
void Mapping::join(const std::string& from, std::initializer_list<const char*> parts,
                   const std::string& weight, const std::string& bias) {
  std::vector<at::Tensor> weights, biases;
  for (const char* part : parts) {
    const auto kernel = arrays_.find(from + part + "/kernel");
    const auto shift = arrays_.find(from + part + "/bias");
    if (kernel == arrays_.end() || shift == arrays_.end() || kernel->second.dim() != 3) return;
    weights.push_back(from_heads(kernel->second));
    biases.push_back(flat(shift->second));
    if (weights.back().size(1) != weights.front().size(1)) return;
  }
  for (const char* part : parts) {
    (void)take(from + part + "/kernel");
    (void)take(from + part + "/bias");
  }
  out_.emplace_back(weight, at::cat(weights));
  out_.emplace_back(bias, at::cat(biases));
}

/// ENCODERencoderblock/X of all layers becomes ENCODERencoderblock_i/X.
void Mapping::unstack(const std::string& encoder) {
  const std::string stacked = encoder + "encoderblock/";
  Arrays apart;
  for (auto it = arrays_.lower_bound(stacked);
       it != arrays_.end() && it->first.starts_with(stacked);) {
    if (it->second.dim() == 0 || it->second.size(0) > kMostLayers) {
      ++it;
      continue;
    }
    for (std::int64_t i = 0; i < it->second.size(0); ++i) {
      apart.emplace(str(encoder, "encoderblock_", i, "/", it->first.substr(stacked.size())),
                    it->second[i]);
    }
    it = arrays_.erase(it);
  }
  arrays_.merge(apart);
}

void Mapping::image_block(const std::string& from, const std::string& to) {
  const std::string attention = from + "MultiHeadDotProductAttention_0/";
  norm(from + "LayerNorm_0/", to + "norm1.");
  join(attention, {"query", "key", "value"}, to + "attn.qkv.weight", to + "attn.qkv.bias");
  output(attention, to + "attn.proj.");
  norm(from + "LayerNorm_1/", to + "norm2.");
  mlp(from, to + "mlp.fc1.", to + "mlp.fc2.");
}

void Mapping::text_block(const std::string& from, const std::string& to) {
  const std::string attention = from + "MultiHeadDotProductAttention_0/";
  norm(from + "LayerNorm_0/", to + "ln_1.");
  join(attention, {"query", "key", "value"}, to + "attn.in_proj_weight", to + "attn.in_proj_bias");
  output(attention, to + "attn.out_proj.");
  norm(from + "LayerNorm_1/", to + "ln_2.");
  mlp(from, to + "mlp.c_fc.", to + "mlp.c_proj.");
}

void Mapping::image_tower() {
  const std::string trunk = "visual.trunk.", head = "img/MAPHead_0/";
  const std::string attention = head + "MultiHeadDotProductAttention_0/";
  put(
      "img/embedding/kernel", trunk + "patch_embed.proj.weight",
      [](const at::Tensor& t) {
        return t.permute({3, 2, 0, 1}).contiguous();
      },
      4);
  put("img/embedding/bias", trunk + "patch_embed.proj.bias", same);
  put("img/pos_embedding", trunk + "pos_embed", same);
  unstack("img/Transformer/");
  for (int i = 0; arrays_.contains(str("img/Transformer/encoderblock_", i, "/LayerNorm_0/scale"));
       ++i) {
    image_block(str("img/Transformer/encoderblock_", i, "/"), str(trunk, "blocks.", i, "."));
  }
  norm("img/Transformer/encoder_norm/", trunk + "norm.");
  put(head + "probe", trunk + "attn_pool.latent", same);
  join(attention, {"query"}, trunk + "attn_pool.q.weight", trunk + "attn_pool.q.bias");
  join(attention, {"key", "value"}, trunk + "attn_pool.kv.weight", trunk + "attn_pool.kv.bias");
  output(attention, trunk + "attn_pool.proj.");
  norm(head + "LayerNorm_0/", trunk + "attn_pool.norm.");
  mlp(head, trunk + "attn_pool.mlp.fc1.", trunk + "attn_pool.mlp.fc2.");
}

void Mapping::text_tower() {
  put("txt/Embed_0/embedding", "text.token_embedding.weight", same);
  put("txt/pos_embedding", "text.positional_embedding",
      [](const at::Tensor& t) { return t.squeeze(0); });
  unstack("txt/Encoder_0/");
  for (int i = 0; arrays_.contains(str("txt/Encoder_0/encoderblock_", i, "/LayerNorm_0/scale"));
       ++i) {
    text_block(str("txt/Encoder_0/encoderblock_", i, "/"),
               str("text.transformer.resblocks.", i, "."));
  }
  norm("txt/Encoder_0/encoder_norm/", "text.ln_final.");
  dense("txt/head/", "text.text_projection.");
}

NamedTensors Mapping::run() {
  const Change first = [](const at::Tensor& t) { return t.numel() > 0 ? t.flatten()[0] : t; };
  put("t", "logit_scale", first);
  put("b", "logit_bias", first);
  image_tower();
  text_tower();
  out_.insert(out_.end(), arrays_.begin(), arrays_.end());
  return std::move(out_);
}

}  // namespace

bool is_npz(const std::string& path) {
  const std::vector<std::string> names = zip_names(path);
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.ends_with(kSuffix); });
}

ForeignCheckpoint read_siglip_npz(const std::string& path) {
  ForeignCheckpoint out;
  out.format = "SigLIP .npz file";
  out.tensors = Mapping(read_arrays(path)).run();
  return out;
}

}  // namespace plumbline
