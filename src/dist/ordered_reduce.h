// The reduction of the host back ends: one loop for all of them, so that their results are equal.
#pragma once

#include <cstdint>
#include <span>

#include "plumbline/communicator.h"

namespace plumbline {

/// out[i] = parts[0][i] op parts[1][i] op ..., from left to right: f32 and bf16 in float32 (bf16
/// rounded once, to nearest even), f64 in float64, integers modulo 2^bits. max and min return NaN
/// where any part is NaN. `out` may be one of the parts.
void ordered_reduce(void* out, std::span<const void* const> parts, std::int64_t count,
                    ElementType type, Reduce op);

}  // namespace plumbline
