#include "cmd/plan_host.h"

#include <sys/sysinfo.h>
#include <time.h>
#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <thread>

namespace plumbline {
namespace {

/// Share of its roofline that a training step reaches on CPUs: docs/explanation/scaling.md.
constexpr double kOfRoofline = 0.8;
constexpr double kSeconds = 0.1;

double seconds_now() {
  // One thread's own clock does not see what else the host is doing.
  const clockid_t clock = at::get_num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Calls a second, after one that is not counted.
double rate(const std::function<void()>& once) {
  once();
  const double begin = seconds_now();
  double seconds = 0;
  int calls = 0;
  while (seconds < kSeconds) {
    once();
    ++calls;
    seconds = seconds_now() - begin;
  }
  return calls / seconds;
}

/// FLOP/s of the products of a block of this width, as in its MLP.
double linear_rate(int width, int hidden) {
  const at::Tensor x = at::rand({1024, width}), w = at::rand({hidden, width});
  return rate([&] { (void)at::linear(x, w); }) * 2.0 * 1024 * width * hidden;
}

/// Of a 3 x 3 convolution in the middle of a ModifiedResNet, with its backward.
double convolution_rate(const ResnetShape& r) {
  const int planes = 2 * r.width, side = std::max(4, r.image / 8), rows = 8;
  const at::Tensor x = at::rand({rows, planes, side, side}).requires_grad_();
  const at::Tensor w = at::rand({planes, planes, 3, 3}).requires_grad_();
  const double flops = 3 * 2.0 * rows * side * side * 9 * planes * planes;
  const at::AutoGradMode with_gradients(true);
  return flops * rate([&] { at::conv2d(x, w, {}, 1, 1).sum().backward(); });
}

double product_rate(const ModelShape& model) {
  const auto* vit = std::get_if<VitShape>(&model.image);
  const double image = vit != nullptr ? linear_rate(vit->width, vit->mlp)
                                      : convolution_rate(std::get<ResnetShape>(model.image));
  if (!model.text) return image;
  const double text = linear_rate(model.text->width, model.text->mlp);
  const double image_flops = image_cost(model, Activations::fp32).executed_flops;
  const double text_flops = text_cost(model, Activations::fp32, 20).executed_flops;
  return (image_flops + text_flops) / (image_flops / image + text_flops / text);
}

/// Bytes/s of a sum of two tensors that do not fit the inner caches: read twice, written once.
double copy_rate() {
  const std::int64_t n = std::int64_t{1} << 22;
  const at::Tensor a = at::rand({n}), b = at::rand({n});
  at::Tensor c = at::empty({n});
  return rate([&] { at::add_out(c, a, b); }) * 12.0 * static_cast<double>(n);
}

}  // namespace

PlanDevice measure_host(const ModelShape& model, int ranks_here, int threads) {
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  if (threads > 0) at::set_num_threads(std::min(threads, cores));
  const at::NoGradGuard no_grad;
  // Ranks that together want more threads than there are cores share them.
  const double share =
      std::min(1.0, static_cast<double>(cores) / ranks_here / at::get_num_threads());
  struct sysinfo info = {};
  sysinfo(&info);
  PlanDevice host = make_cpu(share * product_rate(model), share * copy_rate(),
                             static_cast<double>(info.totalram) * info.mem_unit);
  host.of_roofline = kOfRoofline;
  return host;
}

}  // namespace plumbline
