// AdamW's moments on disk: one file a rank that keeps some of them, optimizer-R-of-W.safetensors.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "plumbline/model.h"

namespace plumbline {

/// Where the tensors `exp_avg.NAME` and `exp_avg_sq.NAME` of a file belong: elements
/// [first, first + their length) of the flattened parameter of this shape.
struct MomentSlice {
  std::int64_t first = 0;
  std::vector<std::int64_t> shape;
};

/// A rank's moments. Tensors without a slice are whole.
struct Moments {
  NamedTensors tensors;
  std::map<std::string, MomentSlice> slices;  ///< by parameter
};

/// "optimizer-00002-of-00008.safetensors"
[[nodiscard]] std::string moments_file_name(int rank, int world);

/// Slices stand as JSON under `slices` in the metadata.
[[nodiscard]] TensorFile to_file(const Moments& moments);

/// Whole moments, both of a parameter side by side, in the order of `model`. Throws DataError
/// naming the file for slices that do not fit, overlap or leave a gap.
[[nodiscard]] NamedTensors read_moments(const std::vector<std::string>& paths,
                                        const NamedTensors& model);

}  // namespace plumbline
