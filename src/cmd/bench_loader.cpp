// `bench loader`: tar shards of photographs to batches of pixels and ids on one core, beside
// webdataset, Pillow and torchvision, and beside libjpeg-turbo's entropy decoding alone.
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "cmd/bench.h"
#include "cmd/jpeg_alone.h"
#include "cmd/photograph.h"
#include "core/file.h"
#include "data/shard_list.h"
#include "data/shard_writer.h"
#include "data/source.h"
#include "data/synthetic.h"
#include "data/tar_writer.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;
using Bytes = std::vector<std::uint8_t>;
constexpr int kModelSide = 224;
constexpr std::int64_t kBatch = 64;
constexpr std::uint64_t kSamples = 256;       // of the generated shards; four batches are an epoch
constexpr std::uint64_t kPictures = 10;       // distinct ones among them
constexpr std::int64_t kMostCompared = 4096;  // samples; the ids of larger sets are not compared

// argv: file with a shard a line, batch, seconds, whether to compare. The stages of open_clip's
// training pipeline but for its shuffling, in one process; "result" is the digest of the sorted
// distinct int32 rows.
constexpr const char* kPeer = R"(
import hashlib, json, sys, time
import torch
import webdataset as wds
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transform import image_transform

shards, batch, seconds = open(sys.argv[1]).read().split("\n")[:-1], int(sys.argv[2]), float(sys.argv[3])
torch.set_num_threads(1)
tokenizer, transform = SimpleTokenizer(), image_transform(224, is_train=True)
has_both = lambda s: "txt" in s and any(k in s for k in ("png", "jpg", "jpeg", "webp"))
data = wds.DataPipeline(
    wds.SimpleShardList(shards), wds.split_by_worker,
    wds.tarfile_to_samples(handler=wds.warn_and_continue), wds.select(has_both),
    wds.decode("pilrgb", handler=wds.warn_and_continue),
    wds.rename(image="jpg;png;jpeg;webp", text="txt"),
    wds.map_dict(image=transform, text=lambda text: tokenizer(text)[0]),
    wds.to_tuple("image", "text"), wds.batched(batch, partial=True))
loader = wds.WebLoader(data, batch_size=None, shuffle=False, num_workers=0)
rows = set()
for image, text in loader:
    rows.update(row.int().numpy().tobytes() for row in text)
    if sys.argv[4] == "0":
        break
done, cpu, wall = 0, time.process_time(), time.perf_counter()
while time.perf_counter() - wall < seconds or done == 0:
    for image, text in loader:
        done += len(image)
        if time.perf_counter() - wall >= seconds:
            break
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"cpu": done / cpu, "wall": done / wall,
                  "result": hashlib.sha256(b"".join(sorted(rows))).hexdigest()}))
)";

[[nodiscard]] double seconds_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Threads and programs started in its life run on the core that this thread runs on.
class OneCore {
 public:
  OneCore() {
    CPU_ZERO(&before_);
    if (::sched_getaffinity(0, sizeof before_, &before_) != 0) throw Error("sched_getaffinity");
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &one);
    if (::sched_setaffinity(0, sizeof one, &one) != 0) throw Error("sched_setaffinity");
  }
  ~OneCore() { ::sched_setaffinity(0, sizeof before_, &before_); }
  OneCore(const OneCore&) = delete;
  OneCore& operator=(const OneCore&) = delete;

 private:
  cpu_set_t before_{};
};

struct Shards {
  std::vector<std::string> paths;
  std::string name, input;
};

struct Ours {
  Rate rate;
  std::string digest;  ///< of the ids, as the peer's; empty: not compared
};

[[nodiscard]] std::string digest_of(const std::set<std::string>& rows) {
  std::string all;
  for (const std::string& row : rows) all += row;
  return sha256_hex(all);
}

[[nodiscard]] DataOptions loader_options(const Shards& shards) {
  DataOptions data;
  data.sources.resize(1);
  data.sources[0].name = "bench";
  data.sources[0].shards = shards.paths;
  data.threads = 1;
  return data;
}

/// Batches of our loader to float32 pixels and ids, on this core; CPU time is the process's.
[[nodiscard]] Ours measure_loader(const Shards& shards, const Tokenizer& tokenizer,
                                  double seconds) {
  const DataOptions data = loader_options(shards);
  LoaderContext context;
  context.global_batch = kBatch;
  context.tokenizer = &tokenizer;
  context.preprocess = preprocess_family("openai", kModelSide);
  Loader loader(data, context);
  constexpr std::size_t kValues = std::size_t{3} * kModelSide * kModelSide;
  std::vector<float> pixels(kValues);
  std::set<std::string> rows;
  const auto batch = [&](bool keep) {
    const Batch* b = loader.next();
    for (std::size_t i = 0; i < static_cast<std::size_t>(b->rows); ++i) {
      normalise(b->pixels_BHWC.subspan(i * kValues, kValues), kModelSide, kModelSide,
                context.preprocess.mean, context.preprocess.std, pixels);
      const std::size_t ids = b->tokens_BL.size() / static_cast<std::size_t>(b->rows);
      const auto* row = reinterpret_cast<const char*>(b->tokens_BL.data() + i * ids);
      if (keep) rows.emplace(row, ids * sizeof(std::int32_t));
    }
    loader.release(b);
  };
  // Two epochs of rows hold each sample at least once.
  const bool compared = loader.epoch_samples() <= kMostCompared;
  const std::int64_t warm = compared ? 2 * loader.epoch_samples() : 4 * kBatch;
  for (std::int64_t n = 0; n < warm; n += kBatch) batch(compared);
  const double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), wall = seconds_of(CLOCK_MONOTONIC);
  double done = 0, wall_s = 0;
  do {
    batch(false);
    done += kBatch;
    wall_s = seconds_of(CLOCK_MONOTONIC) - wall;
  } while (wall_s < seconds);
  const double cpu_s = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  return {{done / cpu_s, done / wall_s}, compared ? digest_of(rows) : std::string()};
}

/// JPEGs of the shards, at most kSamples, that decode.
[[nodiscard]] std::vector<Bytes> some_jpegs(const Shards& shards) {
  LoaderContext context;
  const DataOptions data = loader_options(shards);
  const auto sources = open_sources(data, context, 1);
  std::vector<SampleRef> refs;
  sources[0]->find(0, std::min(kSamples, sources[0]->size()), refs);
  std::vector<Bytes> files;
  ImageDecoder decoder;
  Image image;
  SampleParts parts;
  for (const SampleRef& ref : refs) {
    Bytes bytes(ref.record.bytes);
    sources[0]->read(ref, bytes);
    if (sources[0]->take_apart(ref, bytes, parts)) continue;
    const auto info = probe_image(parts.image);
    const auto* known = std::get_if<ImageInfo>(&info);
    if (known == nullptr || known->format != ImageFormat::jpeg) continue;
    if (!decoder.decode(parts.image, image)) {
      files.emplace_back(parts.image.begin(), parts.image.end());
    }
  }
  if (files.empty()) throw DataError(shards.name + ": no JPEG that decodes");
  return files;
}

[[nodiscard]] Json compare(const Shards& shards, double seconds) {
  // A literal <end_of_text> becomes the special id there.
  const auto tokenizer = make_tokenizer({.special_text = "openclip"});
  const OneCore pinned;
  const Ours ours = measure_loader(shards, *tokenizer, seconds);
  const std::vector<Bytes> files = some_jpegs(shards);
  const auto count = static_cast<double>(files.size());
  Bytes plain;
  const double whole = measure(seconds, count, [&] {
                         for (const Bytes& f : files) decode_alone(f, plain);
                       }).cpu;
  const double entropy = measure(seconds, count, [&] {
                           for (const Bytes& f : files) read_coefficients_alone(f);
                         }).cpu;

  const ScratchFolder folder;
  const std::string list = folder.path() + "/shards.txt";
  std::string lines;
  for (const std::string& path : shards.paths) lines += path + '\n';
  write_file_atomically(list, lines);
  std::string why;
  const Json peer = run_peer(
      kPeer, str("'", list, "' ", kBatch, " ", seconds, " ", ours.digest.empty() ? 0 : 1), why);
  Json figure =
      make_figure({{"name", shards.name},
                   {"input", shards.input},
                   {"unit", "images"},
                   {"peer_name", "webdataset + Pillow + torchvision + SimpleTokenizer"},
                   {"limit_name", str("libjpeg-turbo's entropy decoding alone; its whole decode ",
                                      std::lround(whole), " images/s")}},
                  ours.rate, entropy, peer, why, ours.digest);
  figure["decode_alone"] = whole;
  if (ours.digest.empty()) figure["equal"] = nullptr;
  return figure;
}

/// Two shards of pictures whose short side is `side`, as wide and as high as photographs are.
[[nodiscard]] Json generated(int side, double seconds) {
  constexpr double kAspects[] = {4.0 / 3, 3.0 / 2, 3.0 / 4, 1, 16.0 / 9};
  std::vector<std::string> files;
  double bits = 0;
  for (std::uint64_t i = 0; i < kPictures; ++i) {
    const double aspect = kAspects[i % std::size(kAspects)];
    const auto across = static_cast<int>(std::lround(side * std::max(aspect, 1.0)));
    const auto down = static_cast<int>(std::lround(side * std::max(1 / aspect, 1.0)));
    const Bytes jpeg = encode_jpeg(photograph(i, across, down), 90);
    bits += 8.0 * static_cast<double>(jpeg.size()) / across / down / kPictures;
    files.emplace_back(jpeg.begin(), jpeg.end());
  }
  const ScratchFolder folder;
  ShardFolder out;
  out.out = folder.path() + "/shards";
  out.samples = kSamples;
  out.samples_per_shard = kSamples / 2;
  out.threads = 1;
  out.provenance = "{}";
  (void)write_shard_folder(
      out,
      [&](std::int64_t i, const std::function<void(std::string_view)>& sink) {
        const auto n = static_cast<std::uint64_t>(i);
        const std::string key = str(100000 + i);
        TarWriter tar(sink);
        tar.add(key + ".jpg", files[n % kPictures]);
        tar.add(key + ".txt",
                str("photograph ", i, " of a ", synthetic_class_name(static_cast<int>(i % 64)),
                    " beside a ", synthetic_class_name(static_cast<int>(i * 7 % 64)),
                    " in the garden of an old house, seen from above"));
      },
      {});
  Shards shards{list_shards({out.out + "/*.tar"}, "error", "bench"), str(side, "-pixel shards"),
                ""};
  shards.input = str(kSamples, " samples in ", shards.paths.size(),
                     " shards, generated pictures with 1/f octaves, short side ", side,
                     ", JPEG quality 90, 4:2:0, ", std::round(10 * bits) / 10,
                     " bits a pixel; random crops to ", kModelSide, " x ", kModelSide);
  return compare(shards, seconds);
}

}  // namespace

Json bench_loader(const BenchOptions& options) {
  Json document = {{"bench", "loader"}, {"figures", Json::array()}};
  if (!options.input.empty()) {
    const auto paths = list_shards({options.input}, "error", "--input");
    document["figures"].push_back(compare(
        {paths, "given shards", str(paths.size(), " shards of ", options.input)}, options.seconds));
    return document;
  }
  for (const int side : {512, 256}) document["figures"].push_back(generated(side, options.seconds));
  return document;
}

}  // namespace plumbline
