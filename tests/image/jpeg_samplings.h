// JPEG files that Pillow cannot write: any sampling factors, YCCK, restarts, 12 scans.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plumbline {

struct JpegOptions {
  int horizontal = 2, vertical = 2;  ///< sampling factors of luma
  int chroma_vertical = 1;
  bool progressive = false;
  int restart_rows = 0;
  bool ycck = false;  ///< four components, Adobe's inverted CMYK behind YCCK
  int quality = 85;
};

/// A width x height test picture.
[[nodiscard]] std::vector<std::uint8_t> write_jpeg(int width, int height,
                                                   const JpegOptions& options);

/// Writes one file for each of a list of options to `folder`, as jpeg-NAME.jpg.
void write_jpeg_samplings(const std::string& folder);

}  // namespace plumbline
