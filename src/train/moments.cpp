#include "train/moments.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "plumbline/error.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;
constexpr char kSlices[] = "slices";

/// Whole tensors in the making, and the ranges that have come.
struct Assembly {
  struct Part {
    std::int64_t first, end;
  };
  std::map<std::string, at::Tensor> whole;
  std::map<std::string, std::vector<Part>> parts;
};

std::string parameter_of(const std::string& moment) { return moment.substr(moment.find('.') + 1); }

std::map<std::string, MomentSlice> slices_of(const TensorFile& file, const std::string& path) {
  std::map<std::string, MomentSlice> slices;
  for (const auto& [key, text] : file.metadata) {
    if (key != kSlices) continue;
    try {
      const Json list = Json::parse(text);
      for (const auto& [name, slice] : list.items()) {
        slices[name] = {slice.at("first"), slice.at("shape").get<std::vector<std::int64_t>>()};
      }
    } catch (const Json::exception& e) {
      throw DataError(str(path, ": its metadata `slices` is damaged: ", e.what()));
    }
  }
  return slices;
}

void add_slice(Assembly& assembly, const std::string& name, const at::Tensor& tensor,
               const MomentSlice& slice, const std::string& path) {
  const std::int64_t end = slice.first + tensor.numel();
  at::Tensor& whole = assembly.whole[name];
  if (!whole.defined()) whole = at::zeros(slice.shape, tensor.options());
  if (whole.sizes() != at::IntArrayRef(slice.shape) || slice.first < 0 || end > whole.numel() ||
      whole.scalar_type() != tensor.scalar_type()) {
    throw DataError(plumbline::str(path, ": ", name, " [", slice.first, ", ", end,
                                   ") is no part of ", whole.sizes()));
  }
  whole.view({-1}).narrow(0, slice.first, tensor.numel()).copy_(tensor.view({-1}));
  assembly.parts[name].push_back({slice.first, end});
}

void add_file(Assembly& assembly, const std::string& path) {
  const TensorFile file = read_safetensors(path);
  const std::map<std::string, MomentSlice> slices = slices_of(file, path);
  for (const auto& [name, tensor] : file.tensors) {
    const auto slice = slices.find(parameter_of(name));
    if (slice != slices.end()) {
      add_slice(assembly, name, tensor, slice->second, path);
    } else if (!assembly.whole.emplace(name, tensor).second) {
      throw DataError(str(path, ": ", name, " stands in another file as well"));
    }
  }
}

void require_no_gap(Assembly& assembly, const std::string& path) {
  for (auto& [name, parts] : assembly.parts) {
    std::sort(parts.begin(), parts.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    std::int64_t next = 0;
    for (const Assembly::Part& part : parts) {
      if (part.first != next) break;
      next = part.end;
    }
    const std::int64_t all = assembly.whole.at(name).numel();
    if (next == all) continue;
    throw DataError(str(path, " and its neighbours: the slices of ", name, " meet up to element ",
                        next, " of ", all, " only"));
  }
}

}  // namespace

std::string moments_file_name(int rank, int world) {
  char name[64];
  std::snprintf(name, sizeof name, "optimizer-%05d-of-%05d.safetensors", rank, world);
  return name;
}

TensorFile to_file(const Moments& moments) {
  TensorFile file{moments.tensors, {}};
  if (moments.slices.empty()) return file;
  Json slices = Json::object();
  for (const auto& [name, slice] : moments.slices) {
    slices[name] = {{"first", slice.first}, {"shape", slice.shape}};
  }
  file.metadata.emplace_back(kSlices, slices.dump());
  return file;
}

NamedTensors read_moments(const std::vector<std::string>& paths, const NamedTensors& model) {
  Assembly assembly;
  for (const std::string& path : paths) add_file(assembly, path);
  if (!paths.empty()) require_no_gap(assembly, paths.front());
  NamedTensors ordered;
  const auto take = [&](const std::string& name) {
    auto node = assembly.whole.extract(name);
    if (!node.empty()) ordered.emplace_back(name, std::move(node.mapped()));
  };
  for (const auto& [name, tensor] : model) {
    take("exp_avg." + name);
    take("exp_avg_sq." + name);
  }
  for (auto& [name, tensor] : assembly.whole) ordered.emplace_back(name, tensor);
  return ordered;
}

}  // namespace plumbline
