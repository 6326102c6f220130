// The in-process back end, the single rank and the order check.
#include <gtest/gtest.h>

#include <cstdlib>

#include "dist/conformance.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

class InProcess : public testing::TestWithParam<int> {};

TEST_P(InProcess, Conforms) {
  run_in_process(GetParam(), [](Communicator& comm) {
    EXPECT_EQ(comm.size(), GetParam());
    Memory memory;
    expect_conformance(comm, memory);
    expect_bytes(comm);
    check_same_order(comm);
  });
}
INSTANTIATE_TEST_SUITE_P(Worlds, InProcess, testing::Values(1, 2, 3, 5, 8));

TEST(Single, Conforms) {
  const auto comm = make_single_communicator();
  Memory memory;
  expect_conformance(*comm, memory);
  expect_bytes(*comm);
  check_same_order(*comm);
}

// The message of the exception that `body` on `world` ranks ends with.
std::string failure(int world, const std::function<void(Communicator&)>& body) {
  try {
    run_in_process(world, body);
  } catch (const std::exception& e) {
    return e.what();
  }
  return "no exception";
}

TEST(InProcessErrors, ThrowingRankReleasesTheOthers) {
  std::array<std::string, 3> released;
  const std::string first = failure(3, [&](Communicator& comm) {
    comm.barrier();
    if (comm.rank() == 1) throw DataError("shard 7 is truncated");
    try {
      (void)comm.all_reduce(1.0, Reduce::sum);
    } catch (const Error& e) {
      released[static_cast<std::size_t>(comm.rank())] = e.what();
      throw;
    }
  });
  EXPECT_EQ(first, "shard 7 is truncated");
  for (const std::size_t rank : {0U, 2U}) {
    EXPECT_NE(released[rank].find("all_reduce sum of 1 f64 (collective 1)"), std::string::npos)
        << released[rank];
    EXPECT_NE(released[rank].find("rank 1 failed"), std::string::npos) << released[rank];
  }
}

TEST(InProcessErrors, RankThatEndsEarlyIsAnError) {
  const std::string what = failure(3, [](Communicator& comm) {
    if (comm.rank() != 2) comm.barrier();
  });
  EXPECT_NE(what.find("ended"), std::string::npos) << what;
}

TEST(InProcessErrors, DifferentCallsAreNamed) {
  const std::string what = failure(2, [](Communicator& comm) {
    std::vector<float> data(6);
    comm.all_reduce(std::span<float>(data).first(comm.rank() == 0 ? 5 : 6), Reduce::sum);
  });
  EXPECT_NE(what.find("rank 0 all_reduce sum of 5 f32 (collective 0)"), std::string::npos) << what;
  EXPECT_NE(what.find("rank 1 all_reduce sum of 6 f32 (collective 0)"), std::string::npos) << what;
}

TEST(InProcessErrors, AbortEndsWithItsCode) {
  try {
    run_in_process(2, [](Communicator& comm) {
      if (comm.rank() == 1) comm.abort(75);
      comm.barrier();
    });
    FAIL() << "nothing thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::resumable);
  }
}

TEST(InProcessErrors, NegativeCountIsRefused) {
  const auto comm = make_single_communicator();
  EXPECT_THROW(comm->all_reduce(nullptr, -1, ElementType::f32, Reduce::sum), InternalError);
}

// A second communicator per rank whose calls differ, as a device back end's could.
TEST(OrderCheck, NamesTheFirstDifference) {
  const std::string what = failure(3, [](Communicator& host) {
    const auto device = make_single_communicator();
    device->barrier();
    std::vector<float> data(4);
    if (host.rank() == 2) {
      device->all_reduce(std::span<float>(data), Reduce::max);
    } else {
      device->all_reduce(std::span<float>(data), Reduce::sum);
    }
    check_same_order(host, *device);
  });
  EXPECT_NE(what.find("rank 0 issued all_reduce sum of 4 f32 (collective 1), rank 2 issued "
                      "all_reduce max of 4 f32 (collective 1)"),
            std::string::npos)
      << what;
}

TEST(OrderCheck, HashDependsOnEveryPartOfACall) {
  std::vector<std::uint64_t> hashes;
  const auto add = [&](const std::function<void(Communicator&)>& call) {
    const auto comm = make_single_communicator();
    call(*comm);
    for (const std::uint64_t other : hashes) EXPECT_NE(comm->order_hash(), other);
    hashes.push_back(comm->order_hash());
  };
  std::vector<double> data(4);
  void* p = data.data();
  add([](Communicator&) {});
  add([](Communicator& c) { c.barrier(); });
  add([](Communicator& c) { c.barrier(), c.barrier(); });
  add([&](Communicator& c) { c.all_reduce(p, 2, ElementType::f32, Reduce::sum); });
  add([&](Communicator& c) { c.all_reduce(p, 2, ElementType::i32, Reduce::sum); });
  add([&](Communicator& c) { c.all_reduce(p, 2, ElementType::f32, Reduce::min); });
  add([&](Communicator& c) { c.all_reduce(p, 3, ElementType::f32, Reduce::sum); });
  add([&](Communicator& c) { c.reduce_scatter(p, p, 2, ElementType::f32, Reduce::sum); });
}

TEST(OrderCheck, ListsTheLastCalls) {
  const auto comm = make_single_communicator();
  for (int i = 0; i < 20; ++i) comm->barrier();
  const std::string calls = comm->recent_calls();
  EXPECT_TRUE(calls.starts_with("barrier (collective 4)\n")) << calls;
  EXPECT_TRUE(calls.ends_with("barrier (collective 19)\n")) << calls;
}

// Without a launcher a process is alone, and an environment that says otherwise is refused.
TEST(HostCommunicator, AnnouncedWorldMustBeReal) {
  const MpiSession session;
  ASSERT_FALSE(session.launched()) << "run this test without mpirun";
  EXPECT_EQ(make_host_communicator(session)->name(), "single");
  setenv("WORLD_SIZE", "4", 1);
  try {
    (void)make_host_communicator(session);
    FAIL() << "nothing thrown";
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("WORLD_SIZE=4"), std::string::npos) << e.what();
  }
  setenv("WORLD_SIZE", "4 nodes", 1);
  EXPECT_THROW((void)make_host_communicator(session), UsageError);
  unsetenv("WORLD_SIZE");
}

}  // namespace
}  // namespace plumbline
