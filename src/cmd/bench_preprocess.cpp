// `bench preprocess`: encoded photographs to the float32 pixels of a model, beside Pillow and
// torchvision, and beside libjpeg-turbo's decoder alone.
#include <cstdio>
// jpeglib.h needs stdio's types before it.
#include <jpeglib.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "cmd/bench.h"
#include "core/file.h"
#include "core/philox.h"
#include "data/synthetic.h"
#include "plumbline/error.h"
#include "plumbline/image.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kModelSide = 224;

// argv: folder, number of files, seconds. The eval transform of open_clip, as its data pipeline
// calls it; "result" is the digest of the first image.
constexpr const char* kPeer = R"(
import hashlib, io, json, sys, time
import torch
from PIL import Image
from open_clip.transform import image_transform

folder, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
torch.set_num_threads(1)
files = [open(f"{folder}/{i}.jpg", "rb").read() for i in range(count)]
transform = image_transform(224, is_train=False)
once = lambda: [transform(Image.open(io.BytesIO(data)).convert("RGB")) for data in files]
first = once()[0].contiguous().numpy().tobytes()
done, cpu, wall = 0, time.process_time(), time.perf_counter()
while time.perf_counter() - wall < seconds or done == 0:
    done += len(once())
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"cpu": done / cpu, "wall": done / wall,
                  "result": hashlib.sha256(first).hexdigest()}))
)";

using Bytes = std::vector<std::uint8_t>;

/// Adds bilinear noise on a grid of `cells` cells a side to one channel.
void add_octave(std::uint64_t stream, int cells, double amplitude, int size,
                std::vector<double>& plane) {
  const auto grid = [&](int x, int y) {
    const auto at = static_cast<std::uint32_t>(y * (cells + 1) + x);
    return amplitude * (draw(stream, at)[0] * 0x1p-31 - 1);
  };
  std::vector<double> values;
  for (int y = 0; y <= cells; ++y) {
    for (int x = 0; x <= cells; ++x) values.push_back(grid(x, y));
  }
  const double scale = static_cast<double>(cells) / size;
  for (int y = 0; y < size; ++y) {
    const int row = static_cast<int>(y * scale);
    const double v = y * scale - row;
    for (int x = 0; x < size; ++x) {
      const int column = static_cast<int>(x * scale);
      const double u = x * scale - column;
      const double* top = &values[static_cast<std::size_t>(row * (cells + 1) + column)];
      const double* bottom = top + cells + 1;
      plane[static_cast<std::size_t>(y * size + x)] +=
          (1 - v) * ((1 - u) * top[0] + u * top[1]) + v * ((1 - u) * bottom[0] + u * bottom[1]);
    }
  }
}

/// Noise whose octaves fall off as those of photographs do (amplitude about 1/f), colour weaker
/// than brightness: at quality 90 it takes a photograph's bits per pixel, and so its time to
/// decode.
Image photograph(std::uint64_t number, int size) {
  const auto pixels = static_cast<std::size_t>(size) * static_cast<std::size_t>(size);
  std::vector<std::vector<double>> planes(3, std::vector<double>(pixels));
  for (std::uint64_t plane = 0; plane < 3; ++plane) {
    double amplitude = plane == 0 ? 90 : 35;
    const double falloff = plane == 0 ? 0.70 : 0.5;
    for (int cells = 2; cells <= size; cells *= 2, amplitude *= falloff) {
      const std::uint64_t x = number * 4096 + plane * 1024 + static_cast<std::uint64_t>(cells);
      add_octave(derive(1, Purpose::synthetic, x), cells, amplitude, size, planes[plane]);
    }
  }
  Image image{size, size, std::vector<std::uint8_t>(3 * pixels)};
  for (std::size_t i = 0; i < pixels; ++i) {
    const double y = 120 + planes[0][i], red = planes[1][i], blue = planes[2][i];
    const double colours[3] = {y + red, y - 0.5 * red - 0.2 * blue, y + blue};
    for (std::size_t c = 0; c < 3; ++c) {
      image.pixels_HWC[3 * i + c] = static_cast<std::uint8_t>(std::clamp(colours[c], 0.0, 255.0));
    }
  }
  return image;
}

/// libjpeg-turbo with the settings of a training decode and nothing around it. The bytes have been
/// decoded before, so that the library's error handler is never called.
void decode_plainly(const Bytes& bytes, std::vector<std::uint8_t>& out) {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&jpeg);
  jpeg_mem_src(&jpeg, bytes.data(), bytes.size());
  jpeg_read_header(&jpeg, TRUE);
  if (jpeg.num_components != 4) jpeg.out_color_space = JCS_RGB;
  jpeg_start_decompress(&jpeg);
  const std::size_t stride = static_cast<std::size_t>(jpeg.output_components) * jpeg.output_width;
  out.resize(stride * jpeg.output_height);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = out.data() + stride * jpeg.output_scanline;
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  jpeg_destroy_decompress(&jpeg);
}

Json compare(const std::string& name, const std::string& input, const std::vector<Bytes>& files,
             double seconds) {
  const PreprocessOptions options = preprocess_family("openai", kModelSide);
  constexpr std::size_t kValues = std::size_t{3} * kModelSide * kModelSide;
  std::vector<std::uint8_t> pixels(kValues);
  std::vector<float> values(kValues);
  ImageDecoder decoder;
  ResizeScratch scratch;
  Image image;
  const auto transform = [&](const Bytes& bytes) {
    if (const auto bad = decoder.decode(bytes, image)) throw DataError(bad->message);
    eval_transform(image, options, pixels, scratch);
    normalise(pixels, kModelSide, kModelSide, options.mean, options.std, values);
  };
  const auto all = [&files](const auto& each) {
    return [&files, &each] {
      for (const Bytes& bytes : files) each(bytes);
    };
  };
  transform(files[0]);
  const std::string digest =
      sha256_hex({reinterpret_cast<const char*>(values.data()), kValues * sizeof(float)});
  const double count = static_cast<double>(files.size());
  const Rate ours = measure(seconds, count, all(transform));
  std::vector<std::uint8_t> plain;
  const auto decode = [&plain](const Bytes& bytes) { decode_plainly(bytes, plain); };
  const Rate limit = measure(seconds, count, all(decode));

  const ScratchFolder folder;
  for (std::size_t i = 0; i < files.size(); ++i) {
    write_file_atomically(str(folder.path(), "/", i, ".jpg"),
                          {reinterpret_cast<const char*>(files[i].data()), files[i].size()});
  }
  std::string why;
  const Json peer = run_peer(kPeer, str("'", folder.path(), "' ", files.size(), " ", seconds), why);
  return make_figure({{"name", name},
                      {"input", input},
                      {"unit", "images"},
                      {"peer_name", "Pillow + torchvision"},
                      {"limit_name", "libjpeg-turbo's decode alone"}},
                     ours, limit.cpu, peer, why, digest);
}

Json generated(int size, double seconds) {
  constexpr int kPictures = 8;
  std::vector<Bytes> files;
  double bits = 0;
  for (std::uint64_t i = 0; i < kPictures; ++i) {
    files.push_back(encode_jpeg(photograph(i, size), 90));
    bits += 8 * static_cast<double>(files.back().size()) / size / size / kPictures;
  }
  return compare(str(size, " x ", size, " to ", kModelSide, " x ", kModelSide),
                 str(kPictures, " generated pictures with 1/f octaves, JPEG quality 90, 4:2:0, ",
                     std::round(10 * bits) / 10, " bits a pixel"),
                 files, seconds);
}

Json given(const std::string& list, double seconds) {
  std::ifstream in(list);
  if (!in) throw UsageError(str("cannot open ", list));
  std::vector<Bytes> files;
  for (std::string path; std::getline(in, path);) {
    const std::string content = read_file(path);
    files.emplace_back(content.begin(), content.end());
    const auto info = probe_image(files.back());
    const auto* image = std::get_if<ImageInfo>(&info);
    if (image == nullptr || image->format != ImageFormat::jpeg) {
      throw DataError(path + " is no JPEG");
    }
    Image decoded;
    if (const auto bad = ImageDecoder().decode(files.back(), decoded)) {
      throw DataError(str(path, ": ", bad->message));
    }
  }
  if (files.empty()) throw UsageError(list + " names no file");
  return compare("given files", str(files.size(), " files of ", list), files, seconds);
}

}  // namespace

Json bench_preprocess(const BenchOptions& options) {
  Json document = {{"bench", "preprocess"}, {"figures", Json::array()}};
  if (!options.input.empty()) {
    document["figures"].push_back(given(options.input, options.seconds));
    return document;
  }
  for (const int size : {512, 256}) {
    document["figures"].push_back(generated(size, options.seconds));
  }
  return document;
}

}  // namespace plumbline
