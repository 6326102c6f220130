#include "data/synthetic.h"

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>

// jpeglib.h needs stdio's types before it.
#include <jpeglib.h>

#include <algorithm>

#include "core/philox.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

struct Colour {
  const char* name;
  std::array<int, 3> rgb;
};
constexpr std::array<Colour, 8> kColours = {{{"red", {220, 40, 40}},
                                             {"green", {40, 180, 60}},
                                             {"blue", {50, 70, 220}},
                                             {"yellow", {230, 220, 50}},
                                             {"purple", {150, 50, 180}},
                                             {"orange", {245, 140, 30}},
                                             {"cyan", {50, 210, 220}},
                                             {"white", {245, 245, 245}}}};
constexpr std::array<const char*, 8> kShapes = {"circle", "square",   "diamond", "ring",
                                                "cross",  "triangle", "bar",     "frame"};

/// Whether the point (x, y), in units of the shape's radius, lies in the shape.
bool inside(int shape, double x, double y) {
  const double ax = std::abs(x), ay = std::abs(y);
  const double square = std::max(ax, ay);
  const double circle = x * x + y * y;
  switch (shape) {
    case 0:
      return circle <= 1;
    case 1:
      return square <= 0.85;
    case 2:
      return ax + ay <= 1.1;
    case 3:
      return circle <= 1 && circle >= 0.4;
    case 4:
      return square <= 1 && std::min(ax, ay) <= 0.3;
    case 5:
      return y <= 0.8 && ax <= (y + 1) * 0.55;
    case 6:
      return ax <= 1 && ay <= 0.35;
    default:
      return square <= 0.95 && square >= 0.6;
  }
}

struct JpegError {
  jpeg_error_mgr base;
  std::jmp_buf jump;
};

void leave(j_common_ptr info) { std::longjmp(reinterpret_cast<JpegError*>(info->err)->jump, 1); }

/// No C++ object lives in this frame: errors leave it by longjmp.
bool compress(const Image& image, int quality, unsigned char** bytes, unsigned long* size) {
  jpeg_compress_struct info;
  JpegError error;
  info.err = jpeg_std_error(&error.base);
  error.base.error_exit = leave;
  jpeg_create_compress(&info);
  if (setjmp(error.jump) != 0) {
    jpeg_destroy_compress(&info);
    return false;
  }
  jpeg_mem_dest(&info, bytes, size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    const std::size_t offset = std::size_t{info.next_scanline} * info.image_width * 3;
    JSAMPROW row = const_cast<JSAMPROW>(image.pixels_HWC.data() + offset);
    (void)jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  return true;
}

}  // namespace

std::string synthetic_class_name(int label) {
  const auto shape = static_cast<std::size_t>(label / 8 % 8);
  std::string name = str(kColours[static_cast<std::size_t>(label % 8)].name, " ", kShapes[shape]);
  return label < 64 ? name : str(name, " ", label / 64);
}

void render_synthetic(std::uint64_t ordinal, int label, int size, Image& out) {
  out.width = out.height = size;
  const auto side = static_cast<std::size_t>(size);
  out.pixels_HWC.resize(side * side * 3);
  const std::uint64_t stream = derive(0, Purpose::synthetic, ordinal);
  const Words place = draw(stream, 0);
  const auto unit = [&](int i) { return place[static_cast<std::size_t>(i)] * 0x1p-32; };
  const double radius = size * (0.25 + 0.15 * unit(0));
  const double cx = size * (0.4 + 0.2 * unit(1));
  const double cy = size * (0.4 + 0.2 * unit(2));
  const int grey = 60 + static_cast<int>(60 * unit(3));
  const Colour& colour = kColours[static_cast<std::size_t>(label % 8)];
  const int shape = label / 8 % 8;
  Words noise{};
  std::size_t i = 0;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const bool in_shape = inside(shape, (x - cx) / radius, (y - cy) / radius);
      for (std::size_t channel = 0; channel < 3; ++channel, ++i) {
        if (i % 16 == 0) noise = draw(stream, static_cast<std::uint32_t>(1 + i / 16));
        const auto byte = static_cast<int>(noise[i / 4 % 4] >> (8 * (i % 4)) & 31U);
        const int value = (in_shape ? colour.rgb[channel] : grey) + byte - 16;
        out.pixels_HWC[i] = static_cast<std::uint8_t>(std::clamp(value, 0, 255));
      }
    }
  }
}

std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality) {
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  const bool done = compress(image, quality, &bytes, &size);
  std::vector<std::uint8_t> result;
  if (done) result.assign(bytes, bytes + size);
  std::free(bytes);
  if (!done) throw Error(str("libjpeg cannot encode ", image.width, " x ", image.height));
  return result;
}

}  // namespace plumbline
