// Time of collectives over two tiers: links inside a node, network cards between nodes.
#pragma once

namespace plumbline {

struct PlanNetwork {
  int world = 1;
  int per_node = 8;
  double node_bytes_per_s = 1, network_bytes_per_s = 1;  ///< of one rank, each way
  double node_latency_s = 0, network_latency_s = 0;      ///< of a ring's hop
  double tree_latency_s = 0;                             ///< of a tree's hop
  double call_s = 0;                                     ///< of any call

  [[nodiscard]] int nodes() const { return (world + per_node - 1) / per_node; }
  /// What a ring carries: each node's cards together are the ring's links between nodes, so it is
  /// the smaller of a rank's link and its node's cards.
  [[nodiscard]] double ring_bytes_per_s() const;
};

/// The faster of ring, 2 (W-1)/W bytes a rank in 2 (W-1) hops, and double binary tree, 2 bytes a
/// byte in 2 log2(nodes) hops and those inside a node.
[[nodiscard]] double all_reduce_s(const PlanNetwork& network, double bytes);
/// `bytes` of all ranks together; a ring's W - 1 hops.
[[nodiscard]] double all_gather_s(const PlanNetwork& network, double bytes);
[[nodiscard]] double reduce_scatter_s(const PlanNetwork& network, double bytes);

}  // namespace plumbline
