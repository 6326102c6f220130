#include "plan/network.h"

#include <gtest/gtest.h>

namespace plumbline {
namespace {

PlanNetwork network(int world) { return {world, 8, 300e9, 45e9, 3e-6, 14e-6, 28e-6, 8e-6}; }

TEST(Network, OneRankWaitsForNobody) {
  EXPECT_EQ(all_reduce_s(network(1), 1e9), 0);
  EXPECT_EQ(all_gather_s(network(1), 1e9), 0);
}

TEST(Network, LargeMessagesTakeTheirBytesOverTheBusBandwidth) {
  const double bytes = 1e10;
  EXPECT_NEAR(all_reduce_s(network(8), bytes), 2 * 7.0 / 8 * bytes / 300e9, 1e-3);
  EXPECT_NEAR(all_gather_s(network(8), bytes), 7.0 / 8 * bytes / 300e9, 1e-3);
  EXPECT_EQ(reduce_scatter_s(network(8), bytes), all_gather_s(network(8), bytes));
}

TEST(Network, AMessageOfNoBytesTakesItsHops) {
  EXPECT_NEAR(all_reduce_s(network(8), 0), 8e-6 + 14 * 3e-6, 1e-12);
  // 16 nodes of 8: 15 hops of a pass lead to another node, 112 do not.
  EXPECT_NEAR(all_gather_s(network(128), 0), 8e-6 + 15 * 14e-6 + 112 * 3e-6, 1e-12);
}

TEST(Network, FewNodesAreBoundByTheirCards) {
  EXPECT_EQ(network(8).ring_bytes_per_s(), 300e9);
  EXPECT_EQ(network(64).ring_bytes_per_s(), 300e9);  // eight cards carry 360
  PlanNetwork slow = network(64);
  slow.network_bytes_per_s = 1e9;
  EXPECT_EQ(slow.ring_bytes_per_s(), 8e9);
}

TEST(Network, ATreeSavesASmallMessageTheLongWayAround) {
  const PlanNetwork many = network(1024);
  const double hops_of_a_ring = 2 * (127 * 14e-6 + 896 * 3e-6);
  EXPECT_LT(all_reduce_s(many, 1e6), 0.2 * hops_of_a_ring);
  EXPECT_GT(all_gather_s(many, 1e6), 0.5 * hops_of_a_ring);  // which has no tree
}

}  // namespace
}  // namespace plumbline
