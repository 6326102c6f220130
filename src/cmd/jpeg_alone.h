// libjpeg-turbo and nothing around it: what the benches of decoding are measured against.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace plumbline {

/// Decodes with the settings of a training decode. The bytes must have been decoded before, so that
/// the library's error handler, which ends the program, is never called.
void decode_alone(std::span<const std::uint8_t> bytes, std::vector<std::uint8_t>& out);

/// Entropy decoding alone: no decoder of the same pixels does less. As above for damaged bytes.
void read_coefficients_alone(std::span<const std::uint8_t> bytes);

}  // namespace plumbline
