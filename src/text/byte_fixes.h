// Bytes that were nearly UTF-8: repairs before decoding, and the two decoders ftfy uses.
#pragma once

#include <string>
#include <string_view>

namespace plumbline {

/// Puts back byte A0 where a space stands in its place inside a UTF-8 sequence.
[[nodiscard]] std::string restore_byte_a0(std::string bytes);

/// UTF-8 sequences with lost bytes (1A, sometimes '?') become the sequence of U+FFFD.
[[nodiscard]] std::string replace_lossy_sequences(std::string_view bytes);

/// UTF-8 that may hold CESU-8 pairs and Java's C0 80. Appends to `text`; false when undecodable.
[[nodiscard]] bool try_decode_utf8_variants(std::string_view bytes, std::u32string& text);

}  // namespace plumbline
