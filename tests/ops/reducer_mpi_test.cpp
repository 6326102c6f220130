// The reducer over MPI: real ranks, one process each.
#include <gtest/gtest.h>

#include <cstdlib>

#include "ops/gradient_reducer.h"

namespace plumbline {
namespace {

Communicator* world = nullptr;

TEST(ReducerMpi, WorldIsWhatWasStarted) {
  const char* expected = std::getenv("PLUMBLINE_EXPECT_WORLD");
  ASSERT_NE(expected, nullptr) << "start this under mpirun, as CTest does";
  ASSERT_EQ(world->size(), std::atoi(expected));
}

TEST(ReducerMpi, GivesTheSumOfAllRanksGradients) {
  at::Tensor a = at::ones({40, 30}).requires_grad_();
  at::Tensor b = (2 * at::ones({30})).requires_grad_();
  GradientReducer reducer({{"a", a}, {"b", b}}, *world, 256);
  EXPECT_EQ(reducer.buckets(), 2);
  const int n = world->size();
  for (int step = 0; step < 3; ++step) {
    reducer.zero();
    const at::Tensor x = at::full({1, 40}, world->rank() + 1, at::kFloat);
    (at::mm(x, a) * b).sum().backward();
    reducer.finish();
    const double ranks_sum = n * (n + 1) / 2.0;
    EXPECT_TRUE(at::equal(a.grad(), at::full({40, 30}, 2 * ranks_sum)));
    EXPECT_TRUE(at::equal(b.grad(), at::full({30}, 40 * ranks_sum)));
  }
  EXPECT_GT(reducer.bytes_reduced(), 0);
  EXPECT_GE(reducer.seconds_waiting(), 0);
}

}  // namespace
}  // namespace plumbline

int main(int argc, char** argv) {
  const plumbline::MpiSession session;
  testing::InitGoogleTest(&argc, argv);
  const auto communicator = plumbline::make_host_communicator(session);
  plumbline::world = communicator.get();
  const int failed = RUN_ALL_TESTS();
  return communicator->all_reduce(std::int64_t{failed}, plumbline::Reduce::max) != 0;
}
