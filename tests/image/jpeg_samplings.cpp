#include "jpeg_samplings.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <jpeglib.h>

#include "core/file.h"

namespace plumbline {

std::vector<std::uint8_t> write_jpeg(int width, int height, const JpegOptions& o) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &memory, &size);
  const int channels = o.ycck ? 4 : 3;
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = channels;
  jpeg.in_color_space = o.ycck ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&jpeg);
  if (o.ycck) jpeg_set_colorspace(&jpeg, JCS_YCCK);
  jpeg_set_quality(&jpeg, o.quality, TRUE);
  jpeg.comp_info[0].h_samp_factor = o.horizontal;
  jpeg.comp_info[0].v_samp_factor = o.vertical;
  for (int c = 1; c < channels; ++c) {
    jpeg.comp_info[c].h_samp_factor = c == 3 ? o.horizontal : 1;
    jpeg.comp_info[c].v_samp_factor = c == 3 ? o.vertical : o.chroma_vertical;
  }
  jpeg.restart_in_rows = o.restart_rows;
  if (o.progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  std::vector<std::uint8_t> row(static_cast<std::size_t>(width) *
                                static_cast<std::size_t>(channels));
  std::uint32_t noise = 1;
  for (int y = 0; y < height; ++y) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      noise = noise * 1664525U + 1013904223U;
      const auto x = static_cast<int>(i) / channels;
      const int wave = (x * (3 + static_cast<int>(i) % channels) + y * 5) % 256;
      row[i] = static_cast<std::uint8_t>(
          (x - width / 2) * (x - width / 2) + (y - height / 2) * (y - height / 2) < width * 2
              ? 255
              : (wave * 7 + static_cast<int>(noise >> 24)) / 8);
    }
    JSAMPROW rows[1] = {row.data()};
    (void)jpeg_write_scanlines(&jpeg, rows, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::vector<std::uint8_t> bytes(memory, memory + size);
  std::free(memory);
  return bytes;
}

void write_jpeg_samplings(const std::string& folder) {
  const std::pair<const char*, JpegOptions> kFiles[] = {
      {"444", {1, 1}},
      {"422", {2, 1}},
      {"420", {2, 2}},
      {"440", {1, 2}},
      {"411", {4, 1}},
      {"410", {4, 2}},
      {"441", {1, 4}},
      {"422-tall-chroma", {2, 2, 2}},
      {"411-progressive", {4, 1, 1, true}},
      {"440-progressive", {1, 2, 1, true}},
      {"420-restart", {2, 2, 1, false, 1}},
      {"ycck", {2, 2, 1, false, 0, true}},
      {"ycck-progressive", {1, 1, 1, true, 0, true}},
      {"420-low-quality", {2, 2, 1, true, 0, false, 8}},
  };
  int width = 37;
  int height = 29;
  for (const auto& [name, options] : kFiles) {
    const std::vector<std::uint8_t> bytes = write_jpeg(width, height, options);
    write_file_atomically(folder + "/jpeg-" + name + ".jpg",
                          {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    width = width * 3 % 50 + 3;
    height = height * 5 % 47 + 2;
  }
}

}  // namespace plumbline
