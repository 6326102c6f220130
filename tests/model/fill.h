// Weights as functions of their names, the same in tests/golden/make_model_golden.py.
#pragma once

#include <torch/torch.h>

#include <string>

#include "plumbline/model.h"

namespace plumbline {

/// `count` float64 values, uniform in [0, 1): the upper 24 bits of splitmix64(fnv1a64(name) + i).
[[nodiscard]] at::Tensor unit_values(const std::string& name, std::int64_t count);
/// The same, uniform in [-1, 1), shaped.
[[nodiscard]] at::Tensor signed_values(const std::string& name, at::IntArrayRef shape);
/// The value of the tensor called `name`, float64.
[[nodiscard]] at::Tensor filled(const std::string& name, at::IntArrayRef shape);
/// Gives every tensor of the model its filled value.
void fill(ClipModel& model);
/// Writes `text` to the file `name` of a folder that goes with this process; returns the path.
[[nodiscard]] std::string write_temporary(const std::string& name, const std::string& text);

}  // namespace plumbline
