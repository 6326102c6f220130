#include "tests/model/fill.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

namespace plumbline {
namespace {

std::uint64_t fnv1a64(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

std::uint64_t splitmix64(std::uint64_t z) {
  z += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// The folder of this process's files, removed at its end.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_(testing::TempDir() + "plumbline_model_" + std::to_string(::getpid())) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

bool contains(const std::string& name, const char* part) {
  return name.find(part) != std::string::npos;
}

at::Tensor filled_vector(const std::string& name, const at::Tensor& r) {
  if (!name.ends_with("weight") && !name.ends_with("gamma")) return 0.1 * r;
  const bool last_norm = contains(name, ".layer") && name.ends_with("bn3.weight");
  return (1 + 0.1 * r) * (last_norm ? 0.1 : 1.0);
}

}  // namespace

at::Tensor unit_values(const std::string& name, std::int64_t count) {
  at::Tensor values = at::empty({count}, at::kDouble);
  double* data = values.data_ptr<double>();
  const std::uint64_t hash = fnv1a64(name);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t bits = splitmix64(hash + static_cast<std::uint64_t>(i)) >> 40;
    data[i] = static_cast<double>(bits) * 0x1.0p-24;
  }
  return values;
}

at::Tensor signed_values(const std::string& name, at::IntArrayRef shape) {
  return (2 * unit_values(name, c10::multiply_integers(shape)) - 1).reshape(shape);
}

at::Tensor filled(const std::string& name, at::IntArrayRef shape) {
  const at::Tensor r = signed_values(name, shape);
  if (name.ends_with("logit_scale")) return at::full_like(r, std::log(1 / 0.07));
  if (name.ends_with("logit_bias")) return at::full_like(r, -10.0);
  if (name.ends_with("num_batches_tracked")) return at::zeros_like(r);
  if (name.ends_with("running_var")) return 1 + 0.5 * (r + 1) / 2;
  if (contains(name, "embedding") || contains(name, "pos_embed") || contains(name, "latent")) {
    return 0.05 * r;
  }
  if (shape.size() == 1) return filled_vector(name, r);
  const bool own = name.ends_with("text_projection") || name == "visual.proj";
  const std::int64_t fan_in = own ? shape[0] : r.numel() / shape[0];
  return std::sqrt(3.0 / static_cast<double>(fan_in)) * r;
}

void fill(ClipModel& model) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : model.state_dict()) {
    at::Tensor(tensor).copy_(filled(name, tensor.sizes()));
  }
}

std::string write_temporary(const std::string& name, const std::string& text) {
  static const TemporaryFolder folder;
  const std::string path = folder.path() + "/" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

}  // namespace plumbline
