// JPEG by libjpeg-turbo: islow, fancy upsampling, block smoothing, as Pillow decodes. libjpeg
// leaves on errors by longjmp, so the three run_* functions that call it hold no C++ object:
// everything they touch lives in Decompressor. decode() below reads top to bottom.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <string_view>
#include <vector>

#include <jpeglib.h>
// jpeglib.h first: jerror.h needs it.
#include <jerror.h>

#include "image/formats.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr int kMaxScans = 100;  // a few kB of scans over a large frame cost minutes
constexpr JDIMENSION kRowsAtOnce = 16;
/// Pixels decoded around a part: fancy upsampling and block smoothing look at their neighbours.
constexpr int kMargin = 16;

/// libjpeg's structures and what their callbacks need; a plain C frame as far as longjmp goes.
struct Decompressor {
  jpeg_decompress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf leave;
  int error_code;  // why we left, a JERR_ or JWRN_ code; 0 = too many scans
  char message[JMSG_LENGTH_MAX];
};

Decompressor* owner(j_common_ptr jpeg) { return static_cast<Decompressor*>(jpeg->client_data); }

[[noreturn]] void on_error(j_common_ptr jpeg) {
  Decompressor* d = owner(jpeg);
  d->error_code = jpeg->err->msg_code;
  (*jpeg->err->format_message)(jpeg, d->message);
  std::longjmp(d->leave, 1);
}

/// level < 0 is a warning. The data ended too early is an error here, as it is for Pillow.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  if (jpeg->err->msg_code == JWRN_JPEG_EOF) on_error(jpeg);
  ++jpeg->err->num_warnings;
}

void print_nothing(j_common_ptr) {}

void on_progress(j_common_ptr jpeg) {
  Decompressor* d = owner(jpeg);
  if (d->jpeg.input_scan_number <= kMaxScans) return;
  d->error_code = 0;
  std::snprintf(d->message, sizeof d->message, "more than %d scans", kMaxScans);
  std::longjmp(d->leave, 1);
}

bool run_create(Decompressor* d) {
  d->jpeg.err = jpeg_std_error(&d->errors);
  d->errors.error_exit = on_error;
  d->errors.emit_message = on_message;
  d->errors.output_message = print_nothing;
  d->progress.progress_monitor = on_progress;
  d->jpeg.client_data = d;
  if (setjmp(d->leave) != 0) return false;
  jpeg_create_decompress(&d->jpeg);  // keeps err and client_data
  d->jpeg.progress = &d->progress;
  return true;
}

bool run_read_header(Decompressor* d, const unsigned char* data, unsigned long size) {
  if (setjmp(d->leave) != 0) return false;
  jpeg_mem_src(&d->jpeg, data, size);
  (void)jpeg_read_header(&d->jpeg, TRUE);
  return true;
}

/// What Pillow makes of Adobe's inverted CMYK: nk = 255 - k', out = nk - c' * nk / 255, rounded.
void cmyk_to_rgb(const unsigned char* cmyk, unsigned char* rgb, JDIMENSION width) {
  for (JDIMENSION x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int nk = cmyk[3];  // 255 - (255 - k)
    for (int c = 0; c < 3; ++c) {
      const int t = (255 - cmyk[c]) * nk + 128;
      const int value = nk - (((t >> 8) + t) >> 8);
      rgb[c] = static_cast<unsigned char>(value < 0 ? 0 : value);
    }
  }
}

/// What Pillow decodes with.
void choose_exact(jpeg_decompress_struct& jpeg) {
  jpeg.out_color_space = jpeg.num_components == 4 ? JCS_CMYK : JCS_RGB;
  jpeg.dct_method = JDCT_ISLOW;
  jpeg.do_fancy_upsampling = TRUE;
  jpeg.do_block_smoothing = TRUE;
}

/// Reads up to kRowsAtOnce rows, none from `bottom` on, to rows `stride` bytes apart.
void read_some_rows(jpeg_decompress_struct& jpeg, JDIMENSION bottom, unsigned char* first_row,
                    std::size_t stride) {
  JSAMPROW rows[kRowsAtOnce];
  JDIMENSION count = 0;
  for (; count < kRowsAtOnce && jpeg.output_scanline + count < bottom; ++count) {
    rows[count] = first_row + stride * (jpeg.output_scanline + count);
  }
  (void)jpeg_read_scanlines(&jpeg, rows, count);
}

/// The whole frame to `rgb`; `cmyk_row` is used by four-component files only.
bool run_read_pixels(Decompressor* d, unsigned char* rgb, unsigned char* cmyk_row) {
  if (setjmp(d->leave) != 0) return false;
  jpeg_decompress_struct& jpeg = d->jpeg;
  choose_exact(jpeg);
  (void)jpeg_start_decompress(&jpeg);
  const std::size_t stride = std::size_t{3} * jpeg.output_width;
  while (jpeg.output_scanline < jpeg.output_height) {
    if (jpeg.num_components == 4) {
      unsigned char* row = rgb + stride * jpeg.output_scanline;
      JSAMPROW rows[1] = {cmyk_row};
      (void)jpeg_read_scanlines(&jpeg, rows, 1);
      cmyk_to_rgb(cmyk_row, row, jpeg.output_width);
    } else {
      read_some_rows(jpeg, jpeg.output_height, rgb, stride);
    }
  }
  (void)jpeg_finish_decompress(&jpeg);  // reads on to EOI: a missing one is JWRN_JPEG_EOF
  return true;
}

/// The part of the frame, with margins, to where it stands in the whole frame `rgb`. Not for four
/// components. Leaves in the middle: the caller aborts.
bool run_read_part(Decompressor* d, const Box* part, unsigned char* rgb) {
  if (setjmp(d->leave) != 0) return false;
  jpeg_decompress_struct& jpeg = d->jpeg;
  choose_exact(jpeg);
  (void)jpeg_start_decompress(&jpeg);
  const JDIMENSION whole = jpeg.output_width;
  auto left = static_cast<JDIMENSION>(std::max(part->left - kMargin, 0));
  const auto right = static_cast<JDIMENSION>(part->left + part->width + kMargin);
  JDIMENSION width = std::min(right, whole) - left;
  if (width < whole) jpeg_crop_scanline(&jpeg, &left, &width);  // to the left, on a block's edge
  if (part->top > kMargin) {
    (void)jpeg_skip_scanlines(&jpeg, static_cast<JDIMENSION>(part->top - kMargin));
  }
  const auto bottom = static_cast<JDIMENSION>(part->top + part->height);
  while (jpeg.output_scanline < bottom) {
    read_some_rows(jpeg, bottom, rgb + std::size_t{3} * left, std::size_t{3} * whole);
  }
  return true;
}

/// Whether an end marker follows what has been read, which is the header of the first scan. Inside
/// a scan these two bytes cannot stand.
bool has_end_marker(const jpeg_decompress_struct& jpeg) {
  const std::string_view rest(reinterpret_cast<const char*>(jpeg.src->next_input_byte),
                              jpeg.src->bytes_in_buffer);
  return rest.rfind("\xff\xd9") != std::string_view::npos;
}

/// Inside the image and smaller.
bool saves_work(const Box& part, const Image& image) {
  const bool inside = part.left >= 0 && part.top >= 0 && part.width > 0 && part.height > 0 &&
                      part.width <= image.width - part.left &&
                      part.height <= image.height - part.top;
  return inside && (part.width < image.width || part.height < image.height);
}

BadSampleClass class_of(int error_code) {
  switch (error_code) {
    case JERR_SOF_UNSUPPORTED:
    case JERR_BAD_PRECISION:
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
      return BadSampleClass::unsupported;
    case JERR_IMAGE_TOO_BIG:
      return BadSampleClass::too_large;
    default:
      return BadSampleClass::decode;
  }
}

std::optional<BadSample> check_components(int components) {
  if (components == 1 || components == 3 || components == 4) return std::nullopt;
  return BadSample{BadSampleClass::unsupported,
                   str("JPEG of ", components, " components (1, 3 and 4 are read)")};
}

int big_endian16(Bytes bytes, std::size_t at) { return bytes[at] << 8 | bytes[at + 1]; }

bool is_frame_header(int marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

}  // namespace

struct JpegDecoder::State {
  Decompressor d{};
  std::vector<std::uint8_t> cmyk_row;
  std::int64_t warned = 0;
};

JpegDecoder::JpegDecoder() : state_(std::make_unique<State>()) {
  if (!run_create(&state_->d)) {
    throw InternalError(str("libjpeg: ", static_cast<const char*>(state_->d.message)));
  }
}
JpegDecoder::~JpegDecoder() {
  if (state_ != nullptr) jpeg_destroy_decompress(&state_->d.jpeg);
}
JpegDecoder::JpegDecoder(JpegDecoder&&) noexcept = default;
JpegDecoder& JpegDecoder::operator=(JpegDecoder&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

std::int64_t JpegDecoder::warned() const { return state_->warned; }

std::optional<BadSample> JpegDecoder::decode(Bytes bytes, const DecodeLimits& limits,
                                             const Box* part, Image& out) {
  Decompressor& d = state_->d;
  const auto refuse = [&](std::optional<BadSample> why) {
    jpeg_abort_decompress(&d.jpeg);
    return why;
  };
  const auto failure = [&]() -> std::optional<BadSample> {
    return BadSample{class_of(d.error_code), str("JPEG: ", static_cast<const char*>(d.message))};
  };
  if (!run_read_header(&d, bytes.data(), bytes.size())) return refuse(failure());
  const auto width = static_cast<int>(d.jpeg.image_width);
  const auto height = static_cast<int>(d.jpeg.image_height);
  if (auto bad = check_size(width, height, limits)) return refuse(std::move(bad));
  if (auto bad = check_components(d.jpeg.num_components)) return refuse(std::move(bad));
  out.width = width;
  out.height = height;
  out.pixels_HWC.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  if (part != nullptr && saves_work(*part, out) && d.jpeg.num_components != 4 &&
      has_end_marker(d.jpeg)) {
    const bool read = run_read_part(&d, part, out.pixels_HWC.data());
    const bool clean = read && d.errors.num_warnings == 0;
    jpeg_abort_decompress(&d.jpeg);
    // What is wrong with a file is for the whole of it to say.
    return clean ? std::nullopt : decode(bytes, limits, nullptr, out);
  }
  if (d.jpeg.num_components == 4) state_->cmyk_row.resize(static_cast<std::size_t>(width) * 4);
  if (!run_read_pixels(&d, out.pixels_HWC.data(), state_->cmyk_row.data())) {
    return refuse(failure());
  }
  if (d.errors.num_warnings > 0) ++state_->warned;
  return std::nullopt;
}

std::variant<ImageInfo, BadSample> probe_jpeg(Bytes bytes, const DecodeLimits& limits) {
  const auto no_frame = [] {
    return BadSample{BadSampleClass::decode, "JPEG: no frame header (SOF)"};
  };
  for (std::size_t at = 2; at + 4 <= bytes.size();) {
    if (bytes[at] != 0xff) return no_frame();
    const int marker = bytes[at + 1];
    if (marker == 0xff) {  // fill byte
      ++at;
      continue;
    }
    if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {  // without a length
      at += 2;
      continue;
    }
    if (marker == 0xd9 || marker == 0xda) return no_frame();
    const int length = big_endian16(bytes, at + 2);
    if (is_frame_header(marker)) {
      if (length < 8 || at + 10 > bytes.size()) return no_frame();
      if (bytes[at + 4] != 8) {
        return BadSample{BadSampleClass::unsupported, str("JPEG of ", int{bytes[at + 4]}, " bits")};
      }
      if (auto bad = check_components(bytes[at + 9])) return std::move(*bad);
      const ImageInfo info{ImageFormat::jpeg, big_endian16(bytes, at + 7),
                           big_endian16(bytes, at + 5)};
      if (auto bad = check_size(info.width, info.height, limits)) return std::move(*bad);
      return info;
    }
    at += 2 + static_cast<std::size_t>(length);
  }
  return no_frame();
}

}  // namespace plumbline
