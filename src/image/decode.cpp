// ImageDecoder and probe_image: the gates that hold for every format, then a switch by signature.
#include <algorithm>
#include <string_view>

#include "image/formats.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

bool starts_with(Bytes bytes, std::size_t at, std::string_view magic) {
  return bytes.size() >= at + magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
                    [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
}

/// The first bytes in hexadecimal, so that a reader sees what the file is instead.
std::string first_bytes(Bytes bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t b : bytes.first(std::min<std::size_t>(8, bytes.size()))) {
    if (!text.empty()) text += ' ';
    text += kDigits[b >> 4];
    text += kDigits[b & 15];
  }
  return text;
}

/// The format, or the reason why these bytes are not looked at.
std::variant<ImageFormat, BadSample> gate(Bytes bytes, const DecodeLimits& limits) {
  if (static_cast<std::int64_t>(bytes.size()) > limits.max_bytes) {
    return BadSample{
        BadSampleClass::too_large,
        str("image file of ", bytes.size(), " bytes, over the limit of ", limits.max_bytes)};
  }
  if (const auto format = format_of(bytes)) return *format;
  if (bytes.empty()) return BadSample{BadSampleClass::decode, "image file of 0 bytes"};
  return BadSample{BadSampleClass::unsupported,
                   "neither JPEG, PNG nor WebP: begins with " + first_bytes(bytes)};
}

}  // namespace

std::optional<ImageFormat> format_of(Bytes bytes) {
  using std::string_view_literals::operator""sv;
  if (starts_with(bytes, 0, "\xff\xd8\xff"sv)) return ImageFormat::jpeg;
  if (starts_with(bytes, 0, "\x89PNG\r\n\x1a\n"sv)) return ImageFormat::png;
  if (starts_with(bytes, 0, "RIFF"sv) && starts_with(bytes, 8, "WEBP"sv)) return ImageFormat::webp;
  return std::nullopt;
}

std::optional<BadSample> check_size(std::int64_t width, std::int64_t height,
                                    const DecodeLimits& limits) {
  if (width <= 0 || height <= 0) {
    return BadSample{BadSampleClass::decode, str("image of ", width, "x", height, " pixels")};
  }
  if (width > limits.max_side || height > limits.max_side) {
    return BadSample{BadSampleClass::too_large, str("image of ", width, "x", height,
                                                    " pixels, a side over ", limits.max_side)};
  }
  if (width * height > limits.max_pixels) {
    return BadSample{
        BadSampleClass::too_large,
        str("image of ", width, "x", height, " pixels, over the limit of ", limits.max_pixels)};
  }
  return std::nullopt;
}

std::variant<ImageInfo, BadSample> probe_image(Bytes bytes, const DecodeLimits& limits) {
  const auto format = gate(bytes, limits);
  if (const auto* bad = std::get_if<BadSample>(&format)) return *bad;
  switch (std::get<ImageFormat>(format)) {
    case ImageFormat::jpeg:
      return probe_jpeg(bytes, limits);
    case ImageFormat::png:
      return probe_png(bytes, limits);
    case ImageFormat::webp:
      return probe_webp(bytes, limits);
  }
  throw InternalError("probe_image: a format without a case");
}

struct ImageDecoder::State {
  DecodeLimits limits;
  Grey16 grey16;
  JpegDecoder jpeg;
  /// `part` null: the whole.
  [[nodiscard]] std::optional<BadSample> decode(Bytes bytes, const Box* part, Image& out);
};

ImageDecoder::ImageDecoder(const DecodeLimits& limits, Grey16 grey16)
    : state_(new State{limits, grey16, {}}) {}
ImageDecoder::~ImageDecoder() = default;
ImageDecoder::ImageDecoder(ImageDecoder&&) noexcept = default;
ImageDecoder& ImageDecoder::operator=(ImageDecoder&&) noexcept = default;

std::optional<BadSample> ImageDecoder::State::decode(Bytes bytes, const Box* part, Image& out) {
  const auto format = gate(bytes, limits);
  if (const auto* bad = std::get_if<BadSample>(&format)) return *bad;
  switch (std::get<ImageFormat>(format)) {
    case ImageFormat::jpeg:
      return jpeg.decode(bytes, limits, part, out);
    case ImageFormat::png:
      return decode_png(bytes, limits, grey16, out);
    case ImageFormat::webp:
      return decode_webp(bytes, limits, out);
  }
  throw InternalError("ImageDecoder: a format without a case");
}

std::optional<BadSample> ImageDecoder::decode(Bytes bytes, Image& out) {
  return state_->decode(bytes, nullptr, out);
}

std::optional<BadSample> ImageDecoder::decode_part(Bytes bytes, const Box& part, Image& out) {
  return state_->decode(bytes, &part, out);
}

std::int64_t ImageDecoder::warned() const { return state_->jpeg.warned(); }

}  // namespace plumbline
