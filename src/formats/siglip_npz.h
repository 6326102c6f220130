// SigLIP's .npz files: a zip archive of NumPy arrays under the names of the JAX model.
#pragma once

#include <string>

#include "formats/foreign.h"

namespace plumbline {

/// Whether the zip archive holds NumPy arrays.
[[nodiscard]] bool is_npz(const std::string& path);

/// Arrays of float64, float32, float16, bfloat16 and integers, in C order. Arrays without a
/// counterpart keep their name, so that the check against the model lists them. Throws DataError
/// naming file, record and what is wrong with it.
[[nodiscard]] ForeignCheckpoint read_siglip_npz(const std::string& path);

}  // namespace plumbline
