#include "plan/network.h"

#include <algorithm>
#include <cmath>

namespace plumbline {
namespace {

/// Once around the ring: a part passes every hop; one hop a node leads to another node.
double ring_pass_s(const PlanNetwork& n, double bytes) {
  const double between = n.nodes() > 1 ? n.nodes() - 1 : 0;
  const double hops = n.world - 1;
  return hops / n.world * bytes / n.ring_bytes_per_s() + between * n.network_latency_s +
         (hops - between) * n.node_latency_s;
}

}  // namespace

double PlanNetwork::ring_bytes_per_s() const {
  if (nodes() == 1) return node_bytes_per_s;
  const double cards = std::min(per_node, world) * network_bytes_per_s;
  return std::min(node_bytes_per_s, cards);
}

double all_reduce_s(const PlanNetwork& n, double bytes) {
  if (n.world == 1) return 0;
  const double ring = 2 * ring_pass_s(n, bytes);
  if (n.nodes() == 1) return n.call_s + ring;
  const double inside = std::min(n.per_node, n.world) - 1;
  const double tree = 2 * bytes / n.ring_bytes_per_s() +
                      2 * (inside * n.node_latency_s + std::log2(n.nodes()) * n.tree_latency_s);
  return n.call_s + std::min(ring, tree);
}

double all_gather_s(const PlanNetwork& n, double bytes) {
  return n.world == 1 ? 0 : n.call_s + ring_pass_s(n, bytes);
}

double reduce_scatter_s(const PlanNetwork& n, double bytes) { return all_gather_s(n, bytes); }

}  // namespace plumbline
