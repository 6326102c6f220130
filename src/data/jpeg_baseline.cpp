// libjpeg leaves on errors by longjmp: run() holds no C++ object, all it touches lives in Copier.
#include "data/jpeg_baseline.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <jpeglib.h>
// jpeglib.h first: jerror.h needs it.
#include <jerror.h>

#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr int kMaxScans = 100;

struct Copier {
  jpeg_decompress_struct in;
  jpeg_compress_struct out;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf leave;
  char message[JMSG_LENGTH_MAX];
  unsigned char* bytes;
  unsigned long size;
};

Copier* owner(j_common_ptr jpeg) { return static_cast<Copier*>(jpeg->client_data); }

[[noreturn]] void on_error(j_common_ptr jpeg) {
  (*jpeg->err->format_message)(jpeg, owner(jpeg)->message);
  std::longjmp(owner(jpeg)->leave, 1);
}

/// Any warning: coefficients of a corrupt file would be kept for good.
void on_message(j_common_ptr jpeg, int level) {
  if (level < 0) on_error(jpeg);
}

void print_nothing(j_common_ptr) {}

void on_progress(j_common_ptr jpeg) {
  if (jpeg->is_decompressor == FALSE) return;
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= kMaxScans) return;
  std::snprintf(owner(jpeg)->message, JMSG_LENGTH_MAX, "more than %d scans", kMaxScans);
  std::longjmp(owner(jpeg)->leave, 1);
}

/// JFIF and Adobe markers are written by libjpeg itself.
bool written_anyway(const Copier* c, jpeg_saved_marker_ptr marker) {
  const bool jfif = c->out.write_JFIF_header && marker->marker == JPEG_APP0 &&
                    marker->data_length >= 5 && std::memcmp(marker->data, "JFIF\0", 5) == 0;
  const bool adobe = c->out.write_Adobe_marker && marker->marker == JPEG_APP0 + 14 &&
                     marker->data_length >= 5 && std::memcmp(marker->data, "Adobe", 5) == 0;
  return jfif || adobe;
}

bool run(Copier* c, const unsigned char* data, unsigned long size) {
  if (setjmp(c->leave) != 0) return false;
  jpeg_create_decompress(&c->in);
  jpeg_create_compress(&c->out);
  c->in.progress = &c->progress;
  jpeg_mem_src(&c->in, data, size);
  jpeg_save_markers(&c->in, JPEG_COM, 0xffff);
  for (int m = 0; m < 16; ++m) jpeg_save_markers(&c->in, JPEG_APP0 + m, 0xffff);
  (void)jpeg_read_header(&c->in, TRUE);
  jvirt_barray_ptr* coefficients = jpeg_read_coefficients(&c->in);
  jpeg_copy_critical_parameters(&c->in, &c->out);
  c->out.optimize_coding = TRUE;
  jpeg_mem_dest(&c->out, &c->bytes, &c->size);
  jpeg_write_coefficients(&c->out, coefficients);
  for (jpeg_saved_marker_ptr m = c->in.marker_list; m != nullptr; m = m->next) {
    if (!written_anyway(c, m)) jpeg_write_marker(&c->out, m->marker, m->data, m->data_length);
  }
  jpeg_finish_compress(&c->out);
  (void)jpeg_finish_decompress(&c->in);
  return true;
}

}  // namespace

bool needs_baseline(std::span<const std::uint8_t> jpeg) {
  for (std::size_t at = 2; at + 4 <= jpeg.size() && jpeg[at] == 0xff;) {
    const int marker = jpeg[at + 1];
    if (marker == 0xff) {
      ++at;
      continue;
    }
    const bool frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (frame) return marker != 0xc0 && marker != 0xc1;
    if (marker == 0xd9 || marker == 0xda) return false;
    at += 2 + static_cast<std::size_t>(jpeg[at + 2] << 8 | jpeg[at + 3]);
  }
  return false;
}

std::variant<std::vector<std::uint8_t>, BadSample> to_baseline(std::span<const std::uint8_t> jpeg) {
  Copier c{};
  c.in.err = c.out.err = jpeg_std_error(&c.errors);
  c.errors.error_exit = on_error;
  c.errors.emit_message = on_message;
  c.errors.output_message = print_nothing;
  c.progress.progress_monitor = on_progress;
  c.in.client_data = c.out.client_data = &c;  // kept by jpeg_create_*
  const bool good = run(&c, jpeg.data(), jpeg.size());
  // A buffer that grew is handed over only at the end of the file.
  if (!good && c.out.dest != nullptr) c.out.dest->term_destination(&c.out);
  jpeg_destroy_compress(&c.out);
  jpeg_destroy_decompress(&c.in);
  std::vector<std::uint8_t> bytes;
  if (good) bytes.assign(c.bytes, c.bytes + c.size);
  std::free(c.bytes);
  if (!good) {
    return BadSample{BadSampleClass::decode, str("JPEG: ", static_cast<const char*>(c.message))};
  }
  return bytes;
}

}  // namespace plumbline
