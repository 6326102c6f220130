// The tensors of a model in state-dict order: building a tower declares each tensor once, with
// name, shape and initial distribution, and gets the tensor back. Everything that lists tensors
// (state dict, shapes, initialisation) reads this list.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace plumbline {

/// Initial values: all `scale`; uniform on +-scale; normal with deviation `scale`, the latter also
/// cut at two deviations.
struct Init {
  enum class Kind { constant, uniform, normal, truncated_normal };
  Kind kind = Kind::constant;
  double scale = 0;
};
[[nodiscard]] inline Init constant(double value) { return {Init::Kind::constant, value}; }
[[nodiscard]] inline Init uniform(double bound) { return {Init::Kind::uniform, bound}; }
[[nodiscard]] inline Init normal(double deviation) { return {Init::Kind::normal, deviation}; }
/// PyTorch's default of Linear and Conv2d, for weight and bias: uniform on +-fan_in^-1/2.
[[nodiscard]] Init torch_default(std::int64_t fan_in);

class Weights {
 public:
  struct Entry {
    std::string name;
    at::Tensor tensor;
    Init init;
    bool parameter;
  };

  /// On `meta` no memory is taken.
  explicit Weights(at::Device device) : device_(device) {}
  at::Tensor parameter(const std::string& name, std::initializer_list<std::int64_t> shape,
                       Init init);
  at::Tensor buffer(const std::string& name, std::initializer_list<std::int64_t> shape, Init init,
                    at::ScalarType type = at::kFloat);
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

 private:
  at::Device device_;
  std::vector<Entry> entries_;
};

/// Fills every tensor. Its numbers come from the Philox stream of (seed, hash of its name), so that
/// neither order nor threads nor other tensors matter.
void initialise(const Weights& weights, std::uint64_t seed);

}  // namespace plumbline
