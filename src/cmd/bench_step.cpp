// `bench step`: whole training steps (forward, loss, backward, AdamW) in float32 and bfloat16 of a
// model given by name, beside OpenCLIP's model, loss and optimizer on the same weights and input.
#include <time.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "cmd/bench.h"
#include "core/file.h"
#include "plumbline/error.h"
#include "train/step.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

// argv: folder with model.json, model.safetensors, pixels (float32), tokens (int32); rows, image
// height and width, context length, threads, seconds. Steps as OpenCLIP's train_one_epoch takes
// them. "result" is the loss of the first step.
constexpr const char* kPeer = R"(
import inspect, json, sys, time
import numpy, torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import load_file

folder = sys.argv[1]
rows, height, width, length, threads = map(int, sys.argv[2:7])
seconds = float(sys.argv[7])
torch.set_num_threads(threads)
config = json.load(open(folder + "/model.json"))
make = CustomTextCLIP if config.pop("custom_text", False) else CLIP
known = inspect.signature(make).parameters
model = make(**{key: value for key, value in config.items() if key in known})
model.load_state_dict(load_file(folder + "/model.safetensors"))
model.train()
optimizer = torch.optim.AdamW(
    [{"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
     {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.2}],
    lr=1e-6, betas=(0.9, 0.98), eps=1e-6)
pixels = torch.from_numpy(numpy.fromfile(folder + "/pixels", dtype=numpy.float32))
pixels = pixels.view(rows, 3, height, width)
tokens = torch.from_numpy(numpy.fromfile(folder + "/tokens", dtype=numpy.int32)).long()
tokens = tokens.view(rows, length)
criterion = ClipLoss()


def step(bf16):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        image, text, scale = model(pixels, tokens)[:3]
        loss = criterion(image, text, scale)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, 4.605170185988092)
    return loss.item()


def measure(bf16):
    first = step(bf16)
    cpu, begin, walls = time.process_time(), time.perf_counter(), []
    while sum(walls) < seconds or len(walls) < 3:
        start = time.perf_counter()
        step(bf16)
        walls.append(time.perf_counter() - start)
    cpu = (time.process_time() - cpu) / len(walls)
    return {"cpu": rows / cpu, "wall": rows / sorted(walls)[(len(walls) - 1) // 2],
            "result": "%.3f" % first}


fp32 = measure(False)
print(json.dumps({"cpu": fp32["cpu"], "fp32": fp32, "bf16": measure(True)}))
)";

constexpr std::int64_t kRows = 32;
constexpr std::int64_t kMeanTokens = 20;
constexpr std::int64_t kProduct = 2048;  ///< side of the product that sets the limit

/// The rows of a batch as the loader would give them.
struct Input {
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> tokens;
  Batch batch;
};

/// Captions of 12 to 28 tokens with start and end, in CLIP's order of ids: the end has the largest.
void fill_tokens(Input& input, const TextOptions& text) {
  const std::int64_t length = text.context_length;
  const std::int64_t end = std::max(text.eos_id, text.vocab_size - 1);
  input.tokens.resize(static_cast<std::size_t>(kRows * length));
  for (std::int64_t row = 0; row < kRows; ++row) {
    const std::int64_t n = std::min(length, kMeanTokens - 8 + row % 17);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t id = i == 0 ? end - 1 : 1 + (row * 131 + i * 17) % (end - 2);
      input.tokens[static_cast<std::size_t>(row * length + i)] =
          static_cast<std::int32_t>(i + 1 == n ? end : id);
    }
  }
}

void fill(Input& input, const ModelOptions& model) {
  const auto bytes = kRows * model.vision.image_height * model.vision.image_width * 3;
  input.pixels.resize(static_cast<std::size_t>(bytes));
  std::uint32_t state = 1;
  for (std::uint8_t& v : input.pixels) {
    state = state * 1664525U + 1013904223U;
    v = static_cast<std::uint8_t>(state >> 24);
  }
  fill_tokens(input, model.text);
  input.batch.rows = kRows;
  input.batch.pixels_BHWC = input.pixels;
  input.batch.tokens_BL = input.tokens;
  for (std::int64_t row = 0; row < kRows; ++row) {
    input.batch.row.push_back(
        {.position = static_cast<std::uint64_t>(row), .source = 0, .key = {}});
  }
}

[[nodiscard]] RunConfig config_of(const ModelOptions& model, const std::string& precision) {
  RunConfig config;
  config.train.precision = precision;
  config.resolved_model = model;
  config.preprocess = model.preprocess;
  config.preprocess.height = model.vision.image_height;
  config.preprocess.width = model.vision.image_width;
  return config;
}

void write_bytes(const at::Tensor& tensor, const std::string& path) {
  write_file_atomically(path, std::string(static_cast<const char*>(tensor.data_ptr()),
                                          static_cast<std::size_t>(tensor.nbytes())));
}

/// What the peer reads: the same weights, and pixels already normalised.
void write_input(const Input& input, const ModelOptions& model, const std::string& folder) {
  write_file_atomically(folder + "/model.json", model.source_json);
  write_safetensors(folder + "/model.safetensors", {make_model(model, 0)->state_dict(), {}});
  BatchUploader uploader(at::kCPU, config_of(model, "fp32").preprocess);
  const UploadedBatch uploaded = uploader.upload(input.batch);
  write_bytes(uploader.images(uploaded, 0, kRows).contiguous(), folder + "/pixels");
  write_bytes(uploaded.tokens_BL, folder + "/tokens");
}

[[nodiscard]] double seconds_of(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Work is counted against the process' CPU time, or against the clock where a GPU does it.
[[nodiscard]] double seconds_worked(const at::Device& device) {
  return seconds_of(device.is_cuda() ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID);
}

/// Samples a second: of all steps by the time worked, of the median step by the clock.
struct Measured {
  Rate rate;
  double first_loss = 0;
};

[[nodiscard]] Measured measure_steps(const Input& input, const ModelOptions& model,
                                     const std::string& precision, double seconds) {
  const RunConfig config = config_of(model, precision);
  const at::Device device = pick_device("auto", 0);
  Ranks ranks{make_single_communicator(), device.is_cuda() ? make_single_communicator() : nullptr};
  const std::shared_ptr<ClipModel> clip = make_model(model, 0);
  clip->to(device);
  clip->train();
  TrainStep step(config, *clip, ranks, device);
  constexpr double kRate = 1e-6;
  Measured measured;
  measured.first_loss = step.run(input.batch, kRate).loss;
  const double begin = seconds_of(CLOCK_MONOTONIC), worked = seconds_worked(device);
  std::vector<double> walls;
  while (seconds_of(CLOCK_MONOTONIC) - begin < seconds || walls.size() < 3) {
    const double start = seconds_of(CLOCK_MONOTONIC);
    (void)step.run(input.batch, kRate);
    walls.push_back(seconds_of(CLOCK_MONOTONIC) - start);
  }
  const double steps = static_cast<double>(walls.size());
  const double worked_step = (seconds_worked(device) - worked) / steps;
  std::sort(walls.begin(), walls.end());
  measured.rate = {kRows / worked_step, kRows / walls[(walls.size() - 1) / 2]};
  return measured;
}

/// FLOP/s of a product in this type on all threads, by the time worked: the ceiling of the towers.
[[nodiscard]] double product_rate(at::ScalarType type, double seconds) {
  const at::Device device = pick_device("auto", 0);
  const std::int64_t n = device.is_cuda() ? 8192 : kProduct;
  const auto options = at::device(device).dtype(type);
  const at::Tensor a = at::ones({n, n}, options), b = at::ones({n, n}, options);
  at::Tensor out = at::mm(a, b);
  const double begin = seconds_of(CLOCK_MONOTONIC), worked = seconds_worked(device);
  double flop = 0;
  do {
    at::mm_out(out, a, b);
    if (device.is_cuda()) (void)out[0][0].item<float>();
    flop += 2.0 * static_cast<double>(n * n * n);
  } while (seconds_of(CLOCK_MONOTONIC) - begin < seconds);
  return flop / (seconds_worked(device) - worked);
}

[[nodiscard]] Json figure_of(const ModelOptions& model, const std::string& precision,
                             const Measured& ours, double products, const Json& peer,
                             const std::string& why) {
  const double flops = 3 * forward_flops(model);
  std::array<char, 32> loss{};
  std::snprintf(loss.data(), loss.size(), "%.3f", ours.first_loss);
  Json theirs = nullptr;
  if (peer.is_object()) {
    theirs = peer[precision];
    // bfloat16 rounds by another order of operations on each side: only float32 can be compared.
    if (precision == "bf16") theirs["result"] = loss.data();
  }
  Json figure =
      make_figure({{"name", model.name + ", training step, " + precision},
                   {"input", str(kRows, " pairs, captions of ", kMeanTokens, " tokens on average, ",
                                 at::get_num_threads(), " threads")},
                   {"unit", "samples"},
                   {"peer_name", precision == "bf16" ? "OpenCLIP, amp_bf16" : "OpenCLIP, fp32"},
                   {"limit_name", "standard FLOPs at the rate of one large product"}},
                  ours.rate, products / flops, theirs, why, loss.data());
  figure["of_peer_wall"] =
      peer.is_object() ? Json(ours.rate.wall / theirs["wall"].get<double>()) : Json(nullptr);
  figure["train_gflop"] = flops * 1e-9;
  figure["product_tflop_per_s"] = products * 1e-12;
  figure["mfu"] = figure["of_limit"];
  return figure;
}

}  // namespace

Json bench_step(const BenchOptions& options) {
  const ModelOptions model = read_model(options.input.empty() ? "ViT-B-32" : options.input);
  if (!model.class_names.empty()) throw UsageError("bench step takes a model of two towers");
  Input input;
  fill(input, model);
  const std::array precisions = {std::string("fp32"), std::string("bf16")};
  std::vector<Measured> ours;
  std::vector<double> products;
  for (const std::string& precision : precisions) {
    const auto type = precision == "fp32" ? at::kFloat : at::kBFloat16;
    products.push_back(product_rate(type, std::min(options.seconds, 1.0)));
    ours.push_back(measure_steps(input, model, precision, options.seconds));
  }
  const ScratchFolder scratch;
  write_input(input, model, scratch.path());
  std::string why;
  const Json peer = run_peer(kPeer,
                             str("'", scratch.path(), "' ", kRows, ' ', model.vision.image_height,
                                 ' ', model.vision.image_width, ' ', model.text.context_length, ' ',
                                 at::get_num_threads(), ' ', options.seconds),
                             why);
  Json document = {{"bench", "step"}, {"figures", Json::array()}};
  for (std::size_t i = 0; i < precisions.size(); ++i) {
    document["figures"].push_back(figure_of(model, precisions[i], ours[i], products[i], peer, why));
  }
  return document;
}

}  // namespace plumbline
