// Made-up pictures that compress as photographs do, for benches.
#pragma once

#include <cstdint>

#include "plumbline/image.h"

namespace plumbline {

/// Noise whose octaves fall off as those of photographs do (amplitude about 1/f), colour weaker
/// than brightness: at quality 90 it takes a photograph's bits per pixel, and so its time to
/// decode. A pure function of its arguments.
[[nodiscard]] Image photograph(std::uint64_t number, int width, int height);

}  // namespace plumbline
