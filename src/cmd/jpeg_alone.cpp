#include "cmd/jpeg_alone.h"

#include <cstdio>
// jpeglib.h needs stdio's types before it.
#include <jpeglib.h>

namespace plumbline {
namespace {

/// A decompressor that has read the header.
class Opened {
 public:
  explicit Opened(std::span<const std::uint8_t> bytes) {
    jpeg.err = jpeg_std_error(&errors_);
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, bytes.data(), bytes.size());
    jpeg_read_header(&jpeg, TRUE);
  }
  ~Opened() { jpeg_destroy_decompress(&jpeg); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

  jpeg_decompress_struct jpeg{};

 private:
  jpeg_error_mgr errors_{};
};

}  // namespace

void decode_alone(std::span<const std::uint8_t> bytes, std::vector<std::uint8_t>& out) {
  Opened opened(bytes);
  jpeg_decompress_struct& jpeg = opened.jpeg;
  if (jpeg.num_components != 4) jpeg.out_color_space = JCS_RGB;
  jpeg_start_decompress(&jpeg);
  const std::size_t stride = static_cast<std::size_t>(jpeg.output_components) * jpeg.output_width;
  out.resize(stride * jpeg.output_height);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = out.data() + stride * jpeg.output_scanline;
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
}

void read_coefficients_alone(std::span<const std::uint8_t> bytes) {
  Opened opened(bytes);
  jpeg_read_coefficients(&opened.jpeg);
  jpeg_finish_decompress(&opened.jpeg);
}

}  // namespace plumbline
