// The random stream of one view of one sample. Internal to src/image.
#pragma once

#include <cstdint>

#include "core/philox.h"

namespace plumbline {

/// derive(seed, purpose, x) with x = g for one view and views * g + view for more.
[[nodiscard]] std::uint64_t view_stream(std::uint64_t seed, Purpose purpose, std::uint64_t g,
                                        int view, int views);

}  // namespace plumbline
