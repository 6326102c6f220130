// Made-up samples, a pure function of their ordinal: a coloured shape for each class on noise, with
// the caption "a photo of a red circle", so that a loss falls without any data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plumbline/image.h"

namespace plumbline {

/// Name of a class, "red circle"; 64 distinct ones, then "red circle 1", ...
[[nodiscard]] std::string synthetic_class_name(int label);

/// size x size pixels of the sample `ordinal` of class `label`.
void render_synthetic(std::uint64_t ordinal, int label, int size, Image& out);

/// Baseline JPEG, 4:2:0, by libjpeg. Throws Error when the library fails.
[[nodiscard]] std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality);

}  // namespace plumbline
