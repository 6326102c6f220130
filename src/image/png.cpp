// PNG by libpng, to what Pillow's convert("RGB") gives: alpha and tRNS dropped, palette looked up,
// 1, 2, 4 bits scaled to 255, 16-bit colour by its high byte, 16-bit grey by the Grey16 rule.
// libpng leaves on errors by longjmp, so run_header and run_pixels hold no C++ object.
// One-channel rows are read into the end of their RGB row and expanded in place from the left: the
// write position never passes the read position.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "image/formats.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// libpng's structures, the cursor over the file, and what the header said.
struct PngReader {
  png_structp png;
  png_infop info;
  const unsigned char* next;
  std::size_t left;
  unsigned width, height;
  int bit_depth, color_type;
  char message[128];
};

void on_error(png_structp png, png_const_charp message) {
  auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  const std::size_t length = std::min(std::strlen(message), sizeof reader->message - 1);
  std::memcpy(reader->message, message, length);
  reader->message[length] = '\0';
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep to, std::size_t size) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (size > reader->left) png_error(png, "the file ends too early");
  std::memcpy(to, reader->next, size);
  reader->next += size;
  reader->left -= size;
}

/// Channels of a row as read, after alpha is stripped: grey and palette indices are one.
int channels_read(const PngReader& r) {
  const bool color = (r.color_type & PNG_COLOR_MASK_COLOR) != 0;
  return color && r.color_type != PNG_COLOR_TYPE_PALETTE ? 3 : 1;
}
bool is_grey16(const PngReader& r) {
  return r.color_type == PNG_COLOR_TYPE_GRAY && r.bit_depth == 16;
}
std::size_t row_bytes(const PngReader& r) {
  return std::size_t{r.width} * static_cast<std::size_t>(channels_read(r)) *
         (is_grey16(r) ? 2U : 1U);
}

bool run_header(PngReader* r) {
  r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, on_error, on_warning);
  if (r->png == nullptr) return false;
  if (setjmp(png_jmpbuf(r->png)) != 0) return false;
  r->info = png_create_info_struct(r->png);
  if (r->info == nullptr) return false;
  png_set_read_fn(r->png, r, on_read);
  // Text, colour profiles and the like are passed over unread.
  png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_user_limits(r->png, 0x7fffffff, 0x7fffffff);  // probe_png has checked the size
  png_read_info(r->png, r->info);
  r->width = png_get_image_width(r->png, r->info);
  r->height = png_get_image_height(r->png, r->info);
  r->bit_depth = png_get_bit_depth(r->png, r->info);
  r->color_type = png_get_color_type(r->png, r->info);
  return true;
}

/// Reads to IEND, each row to the end of its 3 * width bytes of `rgb`.
bool run_pixels(PngReader* r, unsigned char* rgb) {
  if (setjmp(png_jmpbuf(r->png)) != 0) return false;
  if (r->bit_depth < 8) png_set_packing(r->png);
  if (r->bit_depth == 16 && !is_grey16(*r)) png_set_strip_16(r->png);
  if ((r->color_type & PNG_COLOR_MASK_ALPHA) != 0) png_set_strip_alpha(r->png);
  const int passes = png_set_interlace_handling(r->png);
  png_read_update_info(r->png, r->info);
  if (png_get_rowbytes(r->png, r->info) != row_bytes(*r)) png_error(r->png, "unexpected row size");
  const std::size_t stride = std::size_t{3} * r->width;
  for (int pass = 0; pass < passes; ++pass) {
    for (unsigned y = 0; y < r->height; ++y) {
      png_read_row(r->png, rgb + stride * (y + 1U) - row_bytes(*r), nullptr);
    }
  }
  png_read_end(r->png, nullptr);  // a missing IEND is an error
  return true;
}

using Palette = std::array<std::array<std::uint8_t, 3>, 256>;

/// Sample value to colour. Indices past the palette's end are black, as in Pillow.
Palette palette_of(const PngReader& r) {
  Palette palette{};
  if (r.color_type == PNG_COLOR_TYPE_PALETTE) {
    png_colorp colors = nullptr;
    int count = 0;
    if (png_get_PLTE(r.png, r.info, &colors, &count) == 0) return palette;
    for (int i = 0; i < std::min(count, 256); ++i) {
      palette[static_cast<std::size_t>(i)] = {colors[i].red, colors[i].green, colors[i].blue};
    }
    return palette;
  }
  const int max = r.bit_depth < 8 ? (1 << r.bit_depth) - 1 : 255;
  for (int v = 0; v <= max; ++v) {
    palette[static_cast<std::size_t>(v)].fill(static_cast<std::uint8_t>(v * 255 / max));
  }
  return palette;
}

void expand_row(const Palette& palette, const std::uint8_t* samples, std::uint8_t* rgb,
                unsigned width) {
  for (unsigned x = 0; x < width; ++x, rgb += 3) {
    const std::array<std::uint8_t, 3> color = palette[samples[x]];
    std::copy(color.begin(), color.end(), rgb);
  }
}

void expand_grey16_row(Grey16 rule, const std::uint8_t* samples, std::uint8_t* rgb,
                       unsigned width) {
  for (unsigned x = 0; x < width; ++x, rgb += 3) {
    const std::uint8_t high = samples[2 * x];
    const std::uint8_t low = samples[2 * x + 1];
    const std::uint8_t grey = rule == Grey16::shift ? high : high != 0 ? std::uint8_t{255} : low;
    std::fill_n(rgb, 3, grey);
  }
}

void expand(const PngReader& r, Grey16 rule, std::vector<std::uint8_t>& rgb) {
  if (channels_read(r) == 3) return;
  const Palette palette = palette_of(r);
  for (unsigned y = 0; y < r.height; ++y) {
    std::uint8_t* row = rgb.data() + std::size_t{3} * r.width * y;
    const std::uint8_t* samples = row + std::size_t{3} * r.width - row_bytes(r);
    if (is_grey16(r)) {
      expand_grey16_row(rule, samples, row, r.width);
    } else {
      expand_row(palette, samples, row, r.width);
    }
  }
}

/// Destroys what run_header made.
struct ReaderGuard {
  PngReader* reader;
  explicit ReaderGuard(PngReader* r) : reader(r) {}
  ReaderGuard(const ReaderGuard&) = delete;
  ReaderGuard& operator=(const ReaderGuard&) = delete;
  ~ReaderGuard() {
    if (reader->png != nullptr) png_destroy_read_struct(&reader->png, &reader->info, nullptr);
  }
};

unsigned big_endian32(Bytes b, std::size_t at) {
  return unsigned{b[at]} << 24 | unsigned{b[at + 1]} << 16 | unsigned{b[at + 2]} << 8 | b[at + 3];
}

}  // namespace

std::variant<ImageInfo, BadSample> probe_png(Bytes bytes, const DecodeLimits& limits) {
  constexpr std::size_t kHeaderEnd = 33;  // signature, and IHDR with its CRC
  if (bytes.size() < kHeaderEnd || std::memcmp(bytes.data() + 12, "IHDR", 4) != 0) {
    return BadSample{BadSampleClass::decode, "PNG: no image header (IHDR)"};
  }
  const unsigned width = big_endian32(bytes, 16);
  const unsigned height = big_endian32(bytes, 20);
  if (auto bad = check_size(width, height, limits)) return std::move(*bad);
  return ImageInfo{ImageFormat::png, static_cast<int>(width), static_cast<int>(height)};
}

std::optional<BadSample> decode_png(Bytes bytes, const DecodeLimits& limits, Grey16 grey16,
                                    Image& out) {
  const auto probed = probe_png(bytes, limits);
  if (const auto* bad = std::get_if<BadSample>(&probed)) return *bad;
  PngReader reader{};
  reader.next = bytes.data();
  reader.left = bytes.size();
  const ReaderGuard guard(&reader);
  const auto failure = [&] {
    return BadSample{BadSampleClass::decode,
                     str("PNG: ", static_cast<const char*>(reader.message), ", at byte ",
                         bytes.size() - reader.left, " of ", bytes.size())};
  };
  if (!run_header(&reader)) return failure();
  out.width = static_cast<int>(reader.width);
  out.height = static_cast<int>(reader.height);
  out.pixels_HWC.resize(std::size_t{3} * reader.width * reader.height);
  if (!run_pixels(&reader, out.pixels_HWC.data())) return failure();
  expand(reader, grey16, out.pixels_HWC);
  return std::nullopt;
}

}  // namespace plumbline
