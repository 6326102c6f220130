// `bench loss`: forward and backward of the contrastive loss on one core, beside OpenCLIP's
// ClipLoss on the same features, the plain formula under LibTorch's autograd, and the matrix
// products alone.
#include <malloc.h>
#include <time.h>
#include <torch/torch.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <mutex>

#include "cmd/bench.h"
#include "core/file.h"
#include "plumbline/communicator.h"
#include "plumbline/error.h"
#include "plumbline/loss.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

// argv: float32 features (images, then texts), rows, width, scale, seconds. "result" is the loss.
// "peak" is the memory above what the process held before, in bytes.
constexpr const char* kPeer = R"(
import json, sys, time
import numpy, torch
from open_clip.loss import ClipLoss

torch.set_num_threads(1)
rows, width, scale, seconds = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
features = torch.from_numpy(numpy.fromfile(sys.argv[1], dtype=numpy.float32)).view(2, rows, width)
image, text = (f.clone().requires_grad_() for f in features)
t = torch.tensor(scale).log().requires_grad_()
loss = ClipLoss()


def once(n):
    value = loss(image[:n], text[:n], t.exp())
    value.backward()
    image.grad = text.grad = t.grad = None
    return value.item()


def memory(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(key))


once(256)
open("/proc/self/clear_refs", "w").write("5")
before = memory("VmRSS")
value = once(rows)
peak = memory("VmHWM") - before
done, cpu, wall = 0, time.process_time(), time.perf_counter()
while time.perf_counter() - wall < seconds or done == 0:
    once(rows)
    done += 1
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"cpu": done / cpu, "wall": done / wall, "result": "%.4f" % value, "peak": peak}))
)";

/// b rows on each of W ranks of this process, D wide.
struct Shape {
  std::int64_t b, W, D;
  double scale;
};
constexpr Shape kShapes[] = {
    {4096, 1, 512, 14.3}, {4096, 1, 512, 100}, {1024, 4, 512, 14.3}, {1024, 1, 768, 14.3}};

/// Unit rows, text near its image as in training.
[[nodiscard]] LossInput make_input(const Shape& shape) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(1);
  const auto unit = [](const at::Tensor& x) { return x / x.norm(2, {1}, true); };
  const std::int64_t B = shape.b * shape.W;
  LossInput input;
  input.image_BD = unit(at::randn({B, shape.D}, generator));
  input.text_BD = unit(0.3 * input.image_BD + 0.7 * unit(at::randn({B, shape.D}, generator)));
  input.logit_scale = at::scalar_tensor(shape.scale).log();
  input.max_logit_scale = 200;
  return input;
}

/// What all ranks computed, rows in rank order.
[[nodiscard]] LossOutput run(const LossInput& input, const Shape& shape) {
  if (shape.W == 1) return clip_loss(input, *make_single_communicator());
  LossOutput all;
  all.d_image_BD = at::empty_like(input.image_BD);
  all.d_text_BD = at::empty_like(input.text_BD);
  std::mutex mutex;
  run_in_process(static_cast<int>(shape.W), [&](Communicator& ranks) {
    const std::int64_t first = ranks.rank() * shape.b;
    LossInput mine = input;
    mine.image_BD = input.image_BD.narrow(0, first, shape.b);
    mine.text_BD = input.text_BD.narrow(0, first, shape.b);
    const LossOutput out = clip_loss(mine, ranks);
    all.d_image_BD.narrow(0, first, shape.b).copy_(out.d_image_BD);
    all.d_text_BD.narrow(0, first, shape.b).copy_(out.d_text_BD);
    const std::lock_guard lock(mutex);
    all.loss = out.loss;
  });
  return all;
}

/// The formula as papers write it, with autograd's gradients, in the type of the features.
[[nodiscard]] LossOutput run_plain(const LossInput& input) {
  const auto leaf = [](const at::Tensor& x) { return x.detach().clone().requires_grad_(); };
  const at::Tensor image = leaf(input.image_BD), text = leaf(input.text_BD);
  const at::Tensor t = leaf(input.logit_scale);
  const at::Tensor logits = t.exp() * at::mm(image, text.t());
  const at::Tensor target = at::arange(image.size(0), at::kLong);
  const at::Tensor loss =
      (at::cross_entropy_loss(logits, target) + at::cross_entropy_loss(logits.t(), target)) / 2;
  loss.backward();
  return {loss.detach(), image.grad(), text.grad(), t.grad(), {}};
}

/// VmRSS, VmHWM of this process, in bytes.
[[nodiscard]] std::int64_t memory(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t kib = 0;
    if (word == key + ":" && status >> kib) return kib << 10;
  }
  throw Error("/proc/self/status has no line " + key);
}

/// Memory above what was held before `work`, in bytes.
template <typename Work>
[[nodiscard]] std::int64_t peak_of(const Work& work) {
  std::ofstream("/proc/self/clear_refs") << 5;
  const std::int64_t before = memory("VmRSS");
  work();
  return memory("VmHWM") - before;
}

/// Share of the gradient that float32 lost, against the plain formula in double.
[[nodiscard]] double gradient_error(const LossInput& input, const LossOutput& got) {
  LossInput exact = input;
  exact.image_BD = input.image_BD.to(at::kDouble);
  exact.text_BD = input.text_BD.to(at::kDouble);
  exact.logit_scale = input.logit_scale.exp().to(at::kDouble).log();
  const LossOutput want = run_plain(exact);
  return ((got.d_image_BD - want.d_image_BD).norm() / want.d_image_BD.norm()).item<double>();
}

/// As measure(), by the CPU time of the whole process: virtual ranks are threads.
[[nodiscard]] Rate measure_all_threads(double seconds, double units,
                                       const std::function<void()>& once) {
  const auto now = [](clockid_t clock) {
    timespec t{};
    ::clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  once();
  const double cpu = now(CLOCK_PROCESS_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
  double done = 0;
  do {
    once();
    done += units;
  } while (now(CLOCK_MONOTONIC) - wall < seconds);
  return {done / (now(CLOCK_PROCESS_CPUTIME_ID) - cpu), done / (now(CLOCK_MONOTONIC) - wall)};
}

/// FLOP/s of the two shapes of product in the loss, large enough to be at their best.
[[nodiscard]] double product_rate(const LossInput& input, double seconds) {
  const at::Tensor image = input.image_BD.narrow(0, 0, 1024);
  const at::Tensor text = input.text_BD.narrow(0, 0, 1024);
  const double flop = 2.0 * 1024 * 1024 * static_cast<double>(image.size(1));
  const at::Tensor logits = at::mm(image, text.t());
  at::Tensor out = at::empty_like(logits), gradient = at::empty_like(image);
  return measure_all_threads(seconds, 2 * flop,
                             [&] {
                               at::mm_out(out, image, text.t());
                               at::mm_out(gradient, logits, text);
                             })
      .cpu;
}

void write_features(const LossInput& input, const std::string& path) {
  const at::Tensor both = at::cat({input.image_BD, input.text_BD}).contiguous();
  write_file_atomically(path, std::string(static_cast<const char*>(both.data_ptr()),
                                          static_cast<std::size_t>(both.nbytes())));
}

[[nodiscard]] Json measure_shape(const Shape& shape, double seconds) {
  const LossInput input = make_input(shape);
  const double B = static_cast<double>(shape.b * shape.W);
  const double flop = 8 * B * B * static_cast<double>(shape.D);
  LossOutput got;
  const Shape few{256, 1, shape.D, shape.scale};
  (void)run(make_input(few), few);  // what is set up once is not the loss's memory
  const std::int64_t peak = peak_of([&] { got = run(input, shape); });
  const Rate ours = measure_all_threads(seconds, 1, [&] { (void)run(input, shape); });
  const Rate plain = measure_all_threads(seconds, 1, [&] { (void)run_plain(input); });
  const double products = product_rate(input, seconds);
  const ScratchFolder scratch;
  const std::string path = scratch.path() + "/features";
  write_features(input, path);
  std::string why;
  const Json peer = run_peer(
      kPeer, str("'", path, "' ", shape.b * shape.W, " ", shape.D, " ", shape.scale, " ", seconds),
      why);
  std::array<char, 32> loss{};
  std::snprintf(loss.data(), loss.size(), "%.4f", got.loss.item<double>());
  Json figure = make_figure({{"name", str("contrastive loss, forward and backward, b = ", shape.b,
                                          ", ", shape.W, shape.W == 1 ? " rank" : " virtual ranks",
                                          ", D = ", shape.D, ", scale ", shape.scale)},
                             {"input", "unit rows, float32, texts near their images"},
                             {"unit", "steps"},
                             {"peer_name", "OpenCLIP's ClipLoss"},
                             {"limit_name", "its four matrix products alone"}},
                            ours, products / flop, peer, why, loss.data());
  figure["tflop_per_s"] = ours.cpu * flop * 1e-12;
  figure["plain_formula"] = {{"cpu", plain.cpu}, {"wall", plain.wall}};
  figure["gradient_bytes"] = got.d_image_BD.nbytes() + got.d_text_BD.nbytes();
  figure["peak_extra_bytes"] = peak;
  figure["peer_peak_extra_bytes"] = peer.is_object() ? peer["peak"] : Json(nullptr);
  figure["gradient_error"] = gradient_error(input, got);
  return figure;
}

}  // namespace

Json bench_loss(const BenchOptions& options) {
  if (!options.input.empty()) throw UsageError("bench loss makes its own input: leave out --input");
  constexpr int kReturnedBytes = 1 << 20;  // larger blocks go back to the system: peaks are true
  (void)::mallopt(M_MMAP_THRESHOLD, kReturnedBytes);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);  // figures are of one core, as the peer's
  Json document = {{"bench", "loss"}, {"figures", Json::array()}};
  for (const Shape& shape : kShapes) {
    document["figures"].push_back(measure_shape(shape, options.seconds));
  }
  at::set_num_threads(threads);
  return document;
}

}  // namespace plumbline
