// Datasheets: NVIDIA A100 SXM 80 GB (DS-10031), H100 SXM and H200 SXM (product pages). Dense
// figures without sparsity; GB = 1e9 bytes. NVLink 3 and 4 carry 300 and 450 GB/s each way; the
// usual nodes have one HDR (25 GB/s) or NDR (50 GB/s) InfiniBand card a GPU (DGX A100 and H100).
#include "plan/device.h"

#include <array>

#include "plumbline/error.h"

namespace plumbline {
namespace {

struct Sheet {
  const char* name;
  double bf16_tflops, fp32_tflops;
  double memory_gb_per_s, memory_gb;
  double nvlink_gb_per_s, network_gb_per_s;
};
constexpr std::array kSheets = {
    Sheet{"a100", 312, 19.5, 2039, 80, 300, 25},
    Sheet{"h100", 989, 67, 3350, 80, 450, 50},
    Sheet{"h200", 989, 67, 4800, 141, 450, 50},
};

/// Share of the datasheet that large products and long copies reach: 790 of 989 TFLOP/s and 3.0 of
/// 3.35 TB/s are commonly measured on an H100; NCCL's bus bandwidth is 300 to 370 of 450 GB/s.
constexpr double kOfProducts = 0.8, kOfMemory = 0.9, kOfLink = 0.75;

/// Published runs reach 0.17 to 0.5 of this roofline, most of them 0.2 to 0.3
/// (docs/explanation/scaling.md). Nothing of ours has been measured on a GPU.
constexpr double kOfRoofline = 0.3;

}  // namespace

std::vector<std::string> gpu_names() {
  std::vector<std::string> names;
  for (const Sheet& sheet : kSheets) names.emplace_back(sheet.name);
  return names;
}

PlanDevice find_gpu(const std::string& name, bool bf16) {
  for (const Sheet& sheet : kSheets) {
    if (name != sheet.name) continue;
    PlanDevice device;
    device.name = name;
    device.peak_flops = (bf16 ? sheet.bf16_tflops : sheet.fp32_tflops) * 1e12;
    device.product_flops = kOfProducts * device.peak_flops;
    device.copy_bytes_per_s = kOfMemory * sheet.memory_gb_per_s * 1e9;
    device.memory_bytes = sheet.memory_gb * 1e9;
    device.node_bytes_per_s = kOfLink * sheet.nvlink_gb_per_s * 1e9;
    device.network_bytes_per_s = 0.9 * sheet.network_gb_per_s * 1e9;
    device.host_bytes_per_s = 20e9;  // PCIe 4 x16 from pinned memory
    device.of_roofline = kOfRoofline;
    // NCCL's own model of its Simple protocol (src/graph/tuning.cc): a ring's hop over NVLink and
    // over the network, a tree's, and what any call costs.
    device.latency_node_s = 3.4e-6;
    device.latency_network_s = 14e-6;
    device.latency_tree_s = 28e-6;
    device.latency_call_s = 8.4e-6;
    return device;
  }
  throw UsageError(str("no figures for the device '", name, "'"));
}

PlanDevice make_cpu(double product_flops, double copy_bytes_per_s, double memory_bytes) {
  PlanDevice device;
  device.name = "cpu";
  device.gpu = false;
  device.peak_flops = device.product_flops = product_flops;
  device.copy_bytes_per_s = copy_bytes_per_s;
  device.memory_bytes = memory_bytes;
  // Ranks of one host pass bytes through shared memory: written once, read once, then added.
  device.node_bytes_per_s = copy_bytes_per_s / 3;
  device.network_bytes_per_s = 1.1e9;  // 10 Gbit/s Ethernet
  device.host_bytes_per_s = copy_bytes_per_s / 2;
  device.latency_node_s = 5e-6;
  device.latency_network_s = 30e-6;
  device.latency_tree_s = 30e-6;
  device.latency_call_s = 10e-6;
  device.overlaps = false;  // collectives run in the thread of backward
  return device;
}

}  // namespace plumbline
