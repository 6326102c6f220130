#include "plan/plan.h"

#include <algorithm>
#include <cmath>

namespace plumbline {
namespace {

/// CPU time of a sample: reading, decoding, cropping, tokenizing. Two points of `plumbline bench
/// preprocess`: 0.53 ms for a JPEG of 20 kB, 1.43 ms for one of 62 kB, on one core.
constexpr double kSampleCpu = 0.1e-3, kSampleCpuPerByte = 21e-9;
/// Deviation of one rank's step time; a step waits for the slowest of W ranks.
constexpr double kJitter = 0.01;

PlanNetwork network_of(const PlanInput& in) {
  const PlanDevice& d = in.device;
  return {in.world,         in.per_node,         d.node_bytes_per_s, d.network_bytes_per_s,
          d.latency_node_s, d.latency_network_s, d.latency_tree_s,   d.latency_call_s};
}

/// Forwards of a tower's cost in one step: 1 and 2 backward, if it is trained; another forward when
/// micro-batches cache features.
double forwards(const TowerCost& tower, bool accumulates) {
  return (tower.trained ? 3.0 : 1.0) + (accumulates ? 1.0 : 0.0);
}

class Arithmetic {
 public:
  explicit Arithmetic(const PlanInput& in) : in_(in), network_(network_of(in)) {}

  [[nodiscard]] Plan plan() {
    batches();
    towers();
    memory();
    time();
    whole_run();
    return std::move(plan_);
  }

 private:
  void batches();
  void towers();
  void memory();
  void time();
  void whole_run();
  [[nodiscard]] double gradients_exposed_s();
  [[nodiscard]] double loss_communication_s();
  [[nodiscard]] double loss_s(double columns) const;
  [[nodiscard]] double tower_s(const TowerCost& tower, double rows) const;
  void hold(const std::string& name, double bytes, const char* where) {
    if (bytes <= 0) return;
    const bool gpu = in_.device.gpu;
    const std::string place = gpu ? where : "host";
    plan_.memory.push_back({name, bytes, place});
    (place == "device" ? plan_.device_bytes : plan_.host_bytes) += bytes;
  }
  void spend(const std::string& name, double seconds) {
    if (seconds > 0) plan_.step.push_back({name, seconds, ""});
    plan_.step_s += std::max(0.0, seconds);
  }

  const PlanInput& in_;
  PlanNetwork network_;
  Plan plan_;
  bool accumulates_ = false;
  double backward_s_ = 0;
};

void Arithmetic::batches() {
  plan_.rank_batch = (in_.global_batch + in_.world - 1) / in_.world;
  accumulates_ = in_.micro_batch > 0 && in_.micro_batch < plan_.rank_batch;
  plan_.micro_batch = accumulates_ ? in_.micro_batch : plan_.rank_batch;
}

void Arithmetic::towers() {
  const Activations a = in_.bf16 ? Activations::bf16_autocast : Activations::fp32;
  plan_.image = image_cost(in_.model, a);
  plan_.text = text_cost(in_.model, a, in_.caption_tokens);
  plan_.other_parameters = in_.model.other_parameters;
  plan_.standard_flops = 3 * (plan_.image.standard_flops + plan_.text.standard_flops);
  plan_.executed_flops = forwards(plan_.image, accumulates_) * plan_.image.executed_flops +
                         forwards(plan_.text, accumulates_) * plan_.text.executed_flops;
}

void Arithmetic::memory() {
  const double all = in_.model.parameters(), trained = in_.model.trained_parameters();
  const double rows = static_cast<double>(plan_.micro_batch);
  const double b = static_cast<double>(plan_.rank_batch), B = static_cast<double>(in_.global_batch);
  const double D = in_.model.embed_dim();
  const double shards = in_.zero1 ? in_.world : 1;
  hold("weights, float32", 4 * all, "device");
  hold("weights, bfloat16 copies", in_.bf16 ? 2 * all : 0, "device");
  hold("gradients, float32", 4 * trained, "device");
  hold("moments", 8 * trained / shards, "device");
  hold("averaged weights", in_.average ? 4 * all : 0, "device");
  hold("activations", rows * (plan_.image.saved_bytes + plan_.text.saved_bytes), "device");
  hold("temporaries of backward",
       rows * std::max(plan_.image.trained ? plan_.image.scratch_bytes : 0,
                       plan_.text.trained ? plan_.text.scratch_bytes : 0),
       "device");
  // Features and gradients of both sides, those of the gathered side, tiles of logits.
  const double tile = std::min(4 * b * B, static_cast<double>(std::int64_t{64} << 20));
  hold("loss",
       in_.model.text ? 4 * D * (4 * b + 2 * B) + 16 * B + tile : 8.0 * b * in_.model.classes,
       "device");
  const double buffers = in_.device.gpu ? 4e8 : 2 * in_.bucket_bytes;
  hold("communication buffers", in_.world > 1 ? buffers : 0, "device");
  hold("CUDA context and libraries", in_.device.gpu ? 1.2e9 : 0, "device");
  hold("program and libraries", in_.device.gpu ? 2.5e9 : 3.5e8, "host");
  hold("loader, at most", in_.loader_bytes, "host");
  hold("checkpoint under way (rank 0)", 4 * all + 8 * trained + (in_.average ? 4 * all : 0),
       "host");
  plan_.fits = in_.device.gpu ? plan_.device_bytes <= 0.95 * in_.device.memory_bytes
                              : plan_.host_bytes * std::min(in_.world, in_.per_node) <=
                                    0.95 * in_.device.memory_bytes;
}

/// Products, then everything that only moves bytes: a serial roofline of one tower, both ways.
double Arithmetic::tower_s(const TowerCost& tower, double rows) const {
  const double passes = forwards(tower, accumulates_);
  const double flops = passes * tower.executed_flops;
  const double bytes = passes / 3 * tower.traffic_bytes;
  return rows * (flops / in_.device.product_flops + bytes / in_.device.copy_bytes_per_s) /
         in_.device.of_roofline;
}

/// 8 b B D FLOPs for the softmax (logits twice, two gradients), 6 for the sigmoid; each logit is
/// written and read a few times.
double Arithmetic::loss_s(double columns) const {
  if (!in_.model.text) return 0;
  const double logits = static_cast<double>(plan_.rank_batch) * columns;
  const double flops = (in_.siglip ? 6 : 8) * logits * in_.model.embed_dim();
  // The products are float32 on the CPU; on a GPU the tier of float32 tiles runs outside bfloat16.
  const double rate =
      in_.device.gpu && in_.bf16 ? in_.device.product_flops / 10 : in_.device.product_flops;
  return flops / rate + 48 * logits / in_.device.copy_bytes_per_s;
}

/// Text features of all ranks come, column sums go around, text gradients go home; the loss waits
/// for each.
double Arithmetic::loss_communication_s() {
  if (!in_.model.text || in_.world == 1) return 0;
  const double B = static_cast<double>(in_.global_batch), D = in_.model.embed_dim();
  const double seconds = all_gather_s(network_, 4 * B * D) + reduce_scatter_s(network_, 4 * B * D) +
                         (in_.siglip ? 0 : all_reduce_s(network_, 8 * B));
  plan_.communication_s += seconds;
  return seconds;
}

/// Buckets go out while backward runs; what is left after it, and the last bucket, are waited for.
/// ZeRO-1 also waits for the updated weights.
double Arithmetic::gradients_exposed_s() {
  if (in_.world == 1) return 0;
  const double bytes = 4 * in_.model.trained_parameters();
  const double buckets = std::max(1.0, std::ceil(bytes / in_.bucket_bytes));
  const double each = bytes / buckets;
  const double bucket_s =
      in_.zero1 ? reduce_scatter_s(network_, each) : all_reduce_s(network_, each);
  const double weights_s = in_.zero1 ? buckets * all_gather_s(network_, each) : 0;
  plan_.communication_s += buckets * bucket_s + weights_s;
  const double hidden = in_.device.overlaps ? std::min((buckets - 1) * bucket_s, backward_s_) : 0;
  return buckets * bucket_s - hidden + weights_s;
}

void Arithmetic::time() {
  const double b = static_cast<double>(plan_.rank_batch);
  const double image = tower_s(plan_.image, b), text = tower_s(plan_.text, b);
  // Only the last micro-batch's backward has gradients to send.
  const double last = static_cast<double>(plan_.micro_batch) / b;
  backward_s_ =
      last * (image * (plan_.image.trained ? 2.0 / forwards(plan_.image, accumulates_) : 0) +
              text * (plan_.text.trained ? 2.0 / forwards(plan_.text, accumulates_) : 0));
  spend("image tower", image);
  spend("text tower", text);
  spend("loss", loss_s(static_cast<double>(in_.global_batch)));
  const double shards = in_.zero1 ? in_.world : 1;
  // Zeroing and norm of the gradients; weights, moments and gradients read, the first two written.
  const double moved = in_.model.trained_parameters() * (8 + 28 / shards);
  spend("optimizer", moved / in_.device.copy_bytes_per_s);
  const double work = plan_.step_s;
  spend("features over ranks", loss_communication_s());
  spend("gradients and weights over ranks, exposed", gradients_exposed_s());
  if (in_.world > 1) {
    // Three agreements a step on the hosts, in log2(W) hops each; then the slowest of W ranks.
    const double hop = network_.nodes() > 1 ? 30e-6 : 5e-6;
    spend("agreement of the hosts", 3 * std::ceil(std::log2(in_.world)) * hop);
    spend("waiting for the slowest rank", kJitter * std::sqrt(2 * std::log(in_.world)) * work);
  }
  const double alone =
      image + text + loss_s(b) + in_.model.trained_parameters() * 36 / in_.device.copy_bytes_per_s;
  plan_.efficiency = alone / plan_.step_s;
  plan_.samples_per_s = static_cast<double>(in_.global_batch) / plan_.step_s;
  plan_.samples_per_s_each = plan_.samples_per_s / in_.world;
  plan_.mfu = plan_.samples_per_s_each * plan_.standard_flops / in_.device.peak_flops;
  plan_.ceiling_samples_per_s_each = b / ((image + text) * in_.device.of_roofline);
}

void Arithmetic::whole_run() {
  const double all = in_.model.parameters(), trained = in_.model.trained_parameters();
  plan_.hours = plan_.step_s * static_cast<double>(in_.steps) / 3600;
  plan_.device_hours = plan_.hours * in_.world;
  if (in_.price) plan_.cost = *in_.price * plan_.device_hours;
  plan_.checkpoint_bytes = 4 * all + 8 * trained + (in_.average ? 4 * all : 0);
  // Rank 0 copies before training goes on; the file is written behind it.
  plan_.checkpoint_stall_s = plan_.checkpoint_bytes / in_.device.host_bytes_per_s;
  if (in_.zero1) plan_.checkpoint_stall_s += all_gather_s(network_, 8 * trained);
  plan_.job_mtbf_hours = in_.mtbf_hours / in_.world;
  plan_.checkpoint_minutes =
      60 * checkpoint_interval(plan_.checkpoint_stall_s / 3600, plan_.job_mtbf_hours);
  plan_.loader_bytes_per_s_each = plan_.samples_per_s_each * in_.sample_bytes;
  plan_.loader_cores_each =
      plan_.samples_per_s_each * (kSampleCpu + kSampleCpuPerByte * in_.sample_bytes);
}

}  // namespace

double checkpoint_interval(double cost, double mtbf) {
  if (cost >= 2 * mtbf) return mtbf;
  const double half = cost / (2 * mtbf);
  return std::sqrt(2 * cost * mtbf) * (1 + std::sqrt(half) / 3 + half / 9) - cost;
}

Plan make_plan(const PlanInput& input) { return Arithmetic(input).plan(); }

}  // namespace plumbline
