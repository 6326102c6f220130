// WebP by libwebp, alpha dropped. Of an animation the first frame, on a black canvas.
#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>

#include "image/formats.h"
#include "plumbline/error.h"
#include "plumbline/handle.h"

namespace plumbline {
namespace {

BadSample corrupt(std::string_view what) { return {BadSampleClass::decode, str("WebP: ", what)}; }

std::string_view name_of_status(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "out of memory";
    case VP8_STATUS_BITSTREAM_ERROR:
      return "corrupt header";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "unsupported feature";
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return "the file ends inside its header";
    default:
      return "unreadable header";
  }
}

/// Decodes `file` into `out` at (left, top); its size must be width x height.
std::optional<BadSample> decode_at(const std::uint8_t* file, std::size_t size, int left, int top,
                                   int width, int height, Image& out) {
  if (left < 0 || top < 0 || left + width > out.width || top + height > out.height) {
    return corrupt("a frame outside its canvas");
  }
  int coded_width = 0;
  int coded_height = 0;
  if (WebPGetInfo(file, size, &coded_width, &coded_height) == 0 || coded_width != width ||
      coded_height != height) {
    return corrupt("a frame whose size differs from its header");
  }
  const auto stride = static_cast<std::size_t>(out.width) * 3;
  const std::size_t offset =
      stride * static_cast<std::size_t>(top) + static_cast<std::size_t>(left) * 3;
  if (WebPDecodeRGBInto(file, size, out.pixels_HWC.data() + offset, out.pixels_HWC.size() - offset,
                        static_cast<int>(stride)) == nullptr) {
    return corrupt("corrupt or truncated image data");
  }
  return std::nullopt;
}

std::optional<BadSample> decode_first_frame(Bytes bytes, Image& out) {
  const WebPData data{bytes.data(), bytes.size()};
  const Handle<WebPDemuxer, WebPDemuxDelete> demuxer(WebPDemux(&data));
  WebPIterator frame{};
  if (demuxer == nullptr || WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) {
    return corrupt("an animation without a readable frame");
  }
  std::ranges::fill(out.pixels_HWC, std::uint8_t{0});
  auto bad = decode_at(frame.fragment.bytes, frame.fragment.size, frame.x_offset, frame.y_offset,
                       frame.width, frame.height, out);
  WebPDemuxReleaseIterator(&frame);
  return bad;
}

std::variant<WebPBitstreamFeatures, BadSample> features_of(Bytes bytes,
                                                           const DecodeLimits& limits) {
  WebPBitstreamFeatures features{};
  if (const VP8StatusCode status = WebPGetFeatures(bytes.data(), bytes.size(), &features);
      status != VP8_STATUS_OK) {
    return corrupt(name_of_status(status));
  }
  if (auto bad = check_size(features.width, features.height, limits)) return std::move(*bad);
  return features;
}

}  // namespace

std::variant<ImageInfo, BadSample> probe_webp(Bytes bytes, const DecodeLimits& limits) {
  const auto features = features_of(bytes, limits);
  if (const auto* bad = std::get_if<BadSample>(&features)) return *bad;
  const auto& f = std::get<WebPBitstreamFeatures>(features);
  return ImageInfo{ImageFormat::webp, f.width, f.height};
}

std::optional<BadSample> decode_webp(Bytes bytes, const DecodeLimits& limits, Image& out) {
  const auto features = features_of(bytes, limits);
  if (const auto* bad = std::get_if<BadSample>(&features)) return *bad;
  const auto& f = std::get<WebPBitstreamFeatures>(features);
  out.width = f.width;
  out.height = f.height;
  out.pixels_HWC.resize(static_cast<std::size_t>(f.width) * static_cast<std::size_t>(f.height) * 3);
  if (f.has_animation != 0) return decode_first_frame(bytes, out);
  return decode_at(bytes.data(), bytes.size(), 0, 0, f.width, f.height, out);
}

}  // namespace plumbline
