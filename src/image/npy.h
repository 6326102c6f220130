// NumPy's .npy format, version 1.0, float32 in C order: 10 bytes of magic, version and header
// length, a Python dictionary padded with spaces to a multiple of 64, then the values.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace plumbline {

/// Writes `values` of `shape` so that numpy.load(path) reads them. Throws Error naming the path.
void write_npy(const std::string& path, std::span<const float> values,
               std::span<const std::int64_t> shape);

}  // namespace plumbline
