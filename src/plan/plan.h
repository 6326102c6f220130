// A run on paper: FLOPs, memory by part, time of a step by part, hours, cost, checkpoints, loader.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan/device.h"
#include "plan/model_cost.h"
#include "plan/network.h"

namespace plumbline {

struct PlanInput {
  ModelShape model;
  PlanDevice device;
  int world = 1;
  int per_node = 8;  ///< ranks of a host
  std::int64_t global_batch = 0, micro_batch = 0;
  std::int64_t steps = 0;
  bool bf16 = false, zero1 = false, average = false;
  bool siglip = false;  ///< pairwise sigmoid instead of the softmax over ranks
  double caption_tokens = 20;
  double bucket_bytes = 32 << 20;
  double sample_bytes = 0;  ///< of one sample in its shard; 0: not known
  double loader_bytes = 0;  ///< a rank's loader, at most
  double mtbf_hours = 50000;
  std::optional<double> price;  ///< of one device's hour
};

struct PlanPart {
  std::string name;
  double amount = 0;  ///< bytes, or seconds
  std::string where;  ///< device | host; of a time: empty
};

struct Plan {
  TowerCost image, text;
  double other_parameters = 0;
  double standard_flops = 0;  ///< a sample, forward and backward: 3 forwards
  double executed_flops = 0;  ///< a sample, with the cuts and what is computed again
  std::int64_t rank_batch = 0, micro_batch = 0;
  std::vector<PlanPart> memory;  ///< of a rank; host parts are those of the rank that has most
  double device_bytes = 0, host_bytes = 0;
  bool fits = true;
  std::vector<PlanPart> step;  ///< seconds, in order; they add up to step_s
  double step_s = 0;
  double communication_s = 0;  ///< all of it, hidden or not
  double samples_per_s = 0, samples_per_s_each = 0;
  double mfu = 0;         ///< standard FLOPs over the peak
  double efficiency = 1;  ///< samples/s a rank over those of a single rank with its rows
  double ceiling_samples_per_s_each = 0;  ///< the roofline, nothing waited for
  double hours = 0, device_hours = 0;
  std::optional<double> cost;
  double checkpoint_bytes = 0, checkpoint_stall_s = 0;
  double job_mtbf_hours = 0, checkpoint_minutes = 0;
  double loader_cores_each = 0, loader_bytes_per_s_each = 0;
};

[[nodiscard]] Plan make_plan(const PlanInput& input);

/// Interval between checkpoints, in the unit of its arguments, by Daly (Future Generation Computer
/// Systems 22, 2006, eq. 37), which is Young's sqrt(2 cost mtbf) for a cost far below the mtbf.
[[nodiscard]] double checkpoint_interval(double cost, double mtbf);

}  // namespace plumbline
