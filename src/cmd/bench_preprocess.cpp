// `bench preprocess`: encoded photographs to the float32 pixels of a model, beside Pillow and
// torchvision, and beside libjpeg-turbo's decoder alone.
#include <cmath>
#include <fstream>

#include "cmd/bench.h"
#include "cmd/jpeg_alone.h"
#include "cmd/photograph.h"
#include "core/file.h"
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
  const auto decode = [&plain](const Bytes& bytes) { decode_alone(bytes, plain); };
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
    files.push_back(encode_jpeg(photograph(i, size, size), 90));
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
