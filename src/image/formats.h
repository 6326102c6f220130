// The decoders behind ImageDecoder, one a format. Internal: users include plumbline/image.h.
// Each checks its header against the limits before it allocates, and returns why it refused.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "plumbline/image.h"

namespace plumbline {

using Bytes = std::span<const std::uint8_t>;

/// By signature; nothing for other formats.
[[nodiscard]] std::optional<ImageFormat> format_of(Bytes bytes);

/// `too_large` or `decode` (an empty image) when the limits do not allow the size.
[[nodiscard]] std::optional<BadSample> check_size(std::int64_t width, std::int64_t height,
                                                  const DecodeLimits& limits);

[[nodiscard]] std::variant<ImageInfo, BadSample> probe_jpeg(Bytes bytes,
                                                            const DecodeLimits& limits);
[[nodiscard]] std::variant<ImageInfo, BadSample> probe_png(Bytes bytes, const DecodeLimits& limits);
[[nodiscard]] std::variant<ImageInfo, BadSample> probe_webp(Bytes bytes,
                                                            const DecodeLimits& limits);

/// Keeps one jpeg_decompress_struct: creating it anew costs 13% of a 256-px image.
class JpegDecoder {
 public:
  JpegDecoder();
  ~JpegDecoder();
  JpegDecoder(JpegDecoder&&) noexcept;
  JpegDecoder& operator=(JpegDecoder&&) noexcept;
  /// `part` null: the whole; else its pixels, as ImageDecoder::decode_part says.
  [[nodiscard]] std::optional<BadSample> decode(Bytes bytes, const DecodeLimits& limits,
                                                const Box* part, Image& out);
  /// Images so far that libjpeg warned about (corrupt entropy data and the like) but decoded.
  [[nodiscard]] std::int64_t warned() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::optional<BadSample> decode_png(Bytes bytes, const DecodeLimits& limits,
                                                  Grey16 grey16, Image& out);
[[nodiscard]] std::optional<BadSample> decode_webp(Bytes bytes, const DecodeLimits& limits,
                                                   Image& out);

}  // namespace plumbline
