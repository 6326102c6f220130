// What a device can do: datasheet figures of GPUs, measured ones of this host's cores.
#pragma once

#include <string>
#include <vector>

namespace plumbline {

struct PlanDevice {
  std::string name;  ///< h100 | h200 | a100 | cpu
  bool gpu = true;
  double peak_flops = 0;        ///< of the run's precision, dense; what MFU is a share of
  double product_flops = 0;     ///< what large matrix products reach
  double copy_bytes_per_s = 0;  ///< what elementwise passes reach: read + written
  double memory_bytes = 0;
  double node_bytes_per_s = 0;     ///< one device to those of its node, each way
  double network_bytes_per_s = 0;  ///< one device's share of the network between nodes, each way
  double host_bytes_per_s = 0;     ///< device to host memory
  double of_roofline = 1;          ///< share of the roofline that a whole training step reaches
  double latency_node_s = 0, latency_network_s = 0, latency_tree_s = 0, latency_call_s = 0;
  bool overlaps = true;  ///< communication runs beside compute
};

/// Names that find_gpu knows.
[[nodiscard]] std::vector<std::string> gpu_names();

/// Datasheet figures, `bf16` or IEEE float32. Throws UsageError for an unknown name.
[[nodiscard]] PlanDevice find_gpu(const std::string& name, bool bf16);

/// This host, from what was measured on it: FLOP/s of products and bytes/s of a pass over memory,
/// both for one rank's threads.
[[nodiscard]] PlanDevice make_cpu(double product_flops, double copy_bytes_per_s,
                                  double memory_bytes);

}  // namespace plumbline
