// The MPI back end, under mpirun. Rank 0 prints; the others print failures only.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>

#include "dist/conformance.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

const MpiSession* g_session = nullptr;  // gtest bodies take no arguments
Communicator* g_comm = nullptr;

TEST(Mpi, WorldIsTheExpectedOne) {
  const char* expected = std::getenv("PLUMBLINE_EXPECT_WORLD");
  ASSERT_NE(expected, nullptr) << "run this test by ctest or tests/run.sh";
  EXPECT_EQ(std::to_string(g_comm->size()), expected);
  EXPECT_EQ(g_comm->name(), "mpi");
  EXPECT_EQ(g_comm->local_rank(), g_comm->rank());  // one host
}

TEST(Mpi, Conforms) {
  Memory memory;
  expect_conformance(*g_comm, memory);
  expect_bytes(*g_comm);
  check_same_order(*g_comm);
}

std::vector<float> noise(int rank, std::size_t count) {
  std::mt19937 generator(static_cast<std::uint32_t>(rank) + 17);
  std::vector<float> values(count);
  for (float& v : values) {
    v = static_cast<float>(generator()) * std::exp2(static_cast<float>(generator() % 40) - 60.0F);
  }
  return values;
}

// Rounding shows the order of a sum: MPI's must be that of the in-process back end, in both of its
// ways (one step below 16 KiB, by slices above).
TEST(Mpi, SumsAreTheInProcessOnesBitForBit) {
  for (const std::size_t count : {5UL, 100003UL}) {
    std::vector<float> mine = noise(g_comm->rank(), count), expected;
    g_comm->all_reduce(std::span<float>(mine), Reduce::sum);
    run_in_process(g_comm->size(), [&](Communicator& comm) {
      std::vector<float> data = noise(comm.rank(), count);
      comm.all_reduce(std::span<float>(data), Reduce::sum);
      if (comm.rank() == 0) expected = data;
    });
    EXPECT_EQ(std::memcmp(mine.data(), expected.data(), count * sizeof(float)), 0) << count;
  }
}

// MPI counts are int and buffers are cut at 2^24 elements.
TEST(Mpi, CallsLargerThanAChunk) {
  if (g_comm->size() != 2) GTEST_SKIP() << "16 MiB a rank: once, with 2 ranks";
  constexpr std::int64_t n = (std::int64_t{1} << 24) + 5;
  const auto rank = static_cast<std::size_t>(g_comm->rank());
  const auto at = [](std::size_t i, std::size_t r) {
    return static_cast<std::uint8_t>(i * 31 + i / 1000 + r * 77);
  };
  std::vector<std::uint8_t> mine(n), all(2 * n);
  for (std::size_t i = 0; i < n; ++i) mine[i] = at(i, rank);
  g_comm->all_gather(mine.data(), all.data(), n, ElementType::u8);
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < n; ++i) wrong += all[i] != at(i, 0) || all[n + i] != at(i, 1);
  EXPECT_EQ(wrong, 0) << "all_gather";

  g_comm->reduce_scatter(all.data(), mine.data(), n, ElementType::u8, Reduce::sum);
  wrong = 0;
  for (std::size_t i = 0; i < n; ++i) {
    wrong += mine[i] != static_cast<std::uint8_t>(2 * at(i, rank));
  }
  EXPECT_EQ(wrong, 0) << "reduce_scatter";

  for (std::size_t i = 0; i < n; ++i) mine[i] = at(i, rank);
  g_comm->all_reduce(mine.data(), n, ElementType::u8, Reduce::sum);
  wrong = 0;
  for (std::size_t i = 0; i < n; ++i) {
    wrong += mine[i] != static_cast<std::uint8_t>(at(i, 0) + at(i, 1));
  }
  EXPECT_EQ(wrong, 0) << "all_reduce";
  g_comm->broadcast(all.data(), n, ElementType::u8, 1);
}

TEST(Mpi, AnnouncedWorldMustBeReal) {
  setenv("WORLD_SIZE", std::to_string(g_comm->size() + 1).c_str(), 1);
  EXPECT_THROW((void)make_host_communicator(*g_session), UsageError);
  setenv("WORLD_SIZE", std::to_string(g_comm->size()).c_str(), 1);
  EXPECT_EQ(make_host_communicator(*g_session)->size(), g_comm->size());
  unsetenv("WORLD_SIZE");
}

TEST(Mpi, ErrorsNameRankAndCall) {
  const int nobody = g_comm->size();
  try {
    float value = 0;
    g_comm->broadcast(&value, 1, ElementType::f32, nobody);
    FAIL() << "nothing thrown";
  } catch (const Error& e) {
    const std::string what = e.what();
    EXPECT_EQ(e.code(), ExitCode::resumable);
    EXPECT_TRUE(what.starts_with(str("rank ", g_comm->rank(), " of ", nobody, ": MPI broadcast")))
        << what;
    EXPECT_NE(what.find("of 1 f32 (collective "), std::string::npos) << what;
  }
}

TEST(Mpi, SwappedCallsAreCaughtByTheOrderHash) {
  if (g_comm->size() == 1) GTEST_SKIP() << "one rank is always in order with itself";
  const auto comm = make_host_communicator(*g_session);
  std::vector<float> data(3);
  const bool odd_one = comm->rank() == comm->size() - 1;
  comm->all_reduce(std::span<float>(data), odd_one ? Reduce::max : Reduce::sum);
  try {
    check_same_order(*comm);
    FAIL() << "nothing thrown on rank " << comm->rank();
  } catch (const InternalError& e) {
    EXPECT_NE(std::string(e.what()).find("all_reduce max of 3 f32 (collective 0)"),
              std::string::npos)
        << e.what();
  }
}

class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::cerr << str("rank ", g_comm->rank(), ": ", result.file_name() ? result.file_name() : "?",
                     ":", result.line_number(), ": ", result.summary(), "\n");
  }
};

// `--throw`: rank 1 throws past the session while the others wait for it. The job must end with 70.
int throw_on_one_rank() {
  try {
    const MpiSession session;
    const auto comm = make_host_communicator(session);
    if (comm->rank() == 1) throw Error("one rank throws");
    comm->barrier();
  } catch (const Error&) {
    return 3;  // not reached: the session has ended all ranks
  }
  return 0;
}

}  // namespace
}  // namespace plumbline

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--throw") return plumbline::throw_on_one_rank();
  const plumbline::MpiSession session;
  testing::InitGoogleTest(&argc, argv);
  const auto comm = plumbline::make_host_communicator(session);
  plumbline::g_session = &session;
  plumbline::g_comm = comm.get();
  if (comm->rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new plumbline::FailurePrinter);
  }
  const std::int64_t failed = RUN_ALL_TESTS();
  return comm->all_reduce(failed, plumbline::Reduce::max) == 0 ? 0 : 1;
}
