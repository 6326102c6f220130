// Ranks that find each other over TCP: threads of this process, each with its own communicator, as
// so many processes would have.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "dist/conformance.h"
#include "dist/launch_environment.h"
#include "dist/socket.h"
#include "dist/tcp_communicator.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

int next_port() {
  static std::atomic<int> port{23000 + static_cast<int>(::getpid()) % 5000};
  return port++;
}

LaunchEnvironment place(int rank, int world, int port) {
  return {rank, world, -1, "localhost", port, "test"};
}

/// What each rank's body threw, or "".
std::vector<std::string> run_tcp(int world, const std::function<void(Communicator&)>& body) {
  const int port = next_port();
  std::vector<std::string> errors(static_cast<std::size_t>(world));
  std::vector<std::thread> threads;
  for (int r = 0; r < world; ++r) {
    threads.emplace_back([&, r] {
      try {
        const auto comm = make_tcp_communicator(place(r, world, port), seconds(20));
        body(*comm);
      } catch (const std::exception& e) {
        errors[static_cast<std::size_t>(r)] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  return errors;
}

class Tcp : public testing::TestWithParam<int> {};

TEST_P(Tcp, Conforms) {
  const auto errors = run_tcp(GetParam(), [](Communicator& comm) {
    EXPECT_EQ(comm.size(), GetParam());
    EXPECT_EQ(comm.local_rank(), comm.rank());  // one host
    Memory memory;
    expect_conformance(comm, memory);
    expect_bytes(comm);
    check_same_order(comm);
  });
  for (const std::string& e : errors) EXPECT_EQ(e, "");
}
INSTANTIATE_TEST_SUITE_P(Worlds, Tcp, testing::Values(2, 3, 5, 8));

std::vector<float> noise(int rank, std::size_t count) {
  std::vector<float> values(count);
  std::uint32_t state = static_cast<std::uint32_t>(rank) * 2654435761U + 1;
  for (float& v : values) {
    state = state * 1664525U + 1013904223U;
    v = static_cast<float>(state) * static_cast<float>(1 << (state >> 28));
  }
  return values;
}

// Rounding shows the order of a sum. 12 million floats take several rounds.
TEST(TcpSums, AreTheInProcessOnesBitForBit) {
  for (const std::size_t count : {5UL, 12'000'003UL}) {
    std::vector<float> expected;
    run_in_process(3, [&](Communicator& comm) {
      std::vector<float> data = noise(comm.rank(), count);
      comm.all_reduce(std::span<float>(data), Reduce::sum);
      if (comm.rank() == 0) expected = data;
    });
    const auto errors = run_tcp(3, [&](Communicator& comm) {
      std::vector<float> data = noise(comm.rank(), count);
      comm.all_reduce(std::span<float>(data), Reduce::sum);
      EXPECT_EQ(std::memcmp(data.data(), expected.data(), count * sizeof(float)), 0) << count;
    });
    for (const std::string& e : errors) EXPECT_EQ(e, "");
  }
}

TEST(TcpErrors, DifferentCallsAreNamedAtOnce) {
  const auto errors = run_tcp(3, [](Communicator& comm) {
    comm.barrier();
    std::vector<float> data(3);
    comm.all_reduce(std::span<float>(data), comm.rank() == 2 ? Reduce::max : Reduce::sum);
  });
  for (const std::string& e : errors) {
    EXPECT_NE(e.find("rank 0 issued all_reduce sum of 3 f32 (collective 1), rank 2 issued "
                     "all_reduce max of 3 f32 (collective 1)"),
              std::string::npos)
        << e;
  }
}

TEST(TcpErrors, DifferentRootsAreNamed) {
  const auto errors = run_tcp(2, [](Communicator& comm) {
    std::int64_t value = 0;
    comm.broadcast(&value, 1, ElementType::i64, comm.rank());
  });
  for (const std::string& e : errors) {
    EXPECT_NE(e.find("of different roots"), std::string::npos) << e;
  }
}

TEST(TcpErrors, ALostRankIsNamedOnAllOthers) {
  const auto errors = run_tcp(3, [](Communicator& comm) {
    comm.barrier();
    if (comm.rank() == 1) throw Error("one rank throws");
    comm.barrier();
  });
  EXPECT_EQ(errors[1], "one rank throws");
  for (const std::size_t r : {0UL, 2UL}) {
    EXPECT_NE(errors[r].find("barrier (collective 1) failed: rank 1 on "), std::string::npos)
        << errors[r];
    EXPECT_NE(errors[r].find("closed at the other side"), std::string::npos) << errors[r];
  }
}

TEST(TcpErrors, ALostRankZeroIsNoticed) {
  const auto errors = run_tcp(3, [](Communicator& comm) {
    comm.barrier();
    if (comm.rank() != 0) comm.barrier();
  });
  for (const std::size_t r : {1UL, 2UL}) {
    EXPECT_NE(errors[r].find("rank 0 is lost"), std::string::npos) << errors[r];
  }
}

// The messages with which two places fail to meet.
std::pair<std::string, std::string> two(const LaunchEnvironment& a, const LaunchEnvironment& b,
                                        milliseconds patience) {
  std::array<std::string, 2> errors;
  std::array<const LaunchEnvironment*, 2> places{&a, &b};
  std::vector<std::thread> threads;
  for (const std::size_t i : {0UL, 1UL}) {
    threads.emplace_back([&, i] {
      try {
        (void)make_tcp_communicator(*places[i], patience);
      } catch (const std::exception& e) {
        errors[i] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  return {errors[0], errors[1]};
}

TEST(TcpMeeting, WorldsMustAgree) {
  const int port = next_port();
  const auto [first, second] = two(place(0, 3, port), place(1, 2, port), seconds(20));
  EXPECT_NE(first.find("was told of 2 ranks, rank 0 of 3"), std::string::npos) << first;
  EXPECT_EQ(first, second);
}

TEST(TcpMeeting, AbsentRanksAreNamedWhenPatienceEnds) {
  const int port = next_port();
  const auto [first, second] = two(place(0, 4, port), place(2, 4, port), milliseconds(700));
  EXPECT_NE(first.find("has not heard of rank 1, 3 of 4"), std::string::npos) << first;
}

TEST(TcpMeeting, ARankWithoutRankZeroSaysWhomItMisses) {
  const int port = next_port();
  try {
    (void)make_tcp_communicator(place(1, 2, port), milliseconds(300));
    FAIL() << "nothing thrown";
  } catch (const Error& e) {
    const std::string what = e.what();
    EXPECT_NE(
        what.find(str("rank 0 at localhost:", port, " cannot be reached: Connection refused")),
        std::string::npos)
        << what;
  }
}

// Strangers at the door, mute, noisy and of another job, neither stop the job nor join it.
TEST(TcpMeeting, StrangersAreTurnedAway) {
  const int port = next_port();
  std::thread strangers([&] {
    const auto deadline = std::chrono::steady_clock::now() + seconds(20);
    const Socket noisy = Socket::connect("127.0.0.1", port, deadline);
    const std::vector<std::byte> junk(4096, std::byte{'x'});
    noisy.send(junk);
    { const Socket gone = Socket::connect("127.0.0.1", port, deadline); }
    LaunchEnvironment other = place(1, 2, port);
    other.job = "another";
    EXPECT_THROW((void)make_tcp_communicator(other, milliseconds(500)), Error);
  });
  std::array<std::string, 2> errors;
  std::thread late([&] {
    std::this_thread::sleep_for(milliseconds(800));
    const auto comm = make_tcp_communicator(place(1, 2, port), seconds(20));
    EXPECT_EQ(comm->all_reduce(std::int64_t{1}, Reduce::sum), 2);
  });
  const auto comm = make_tcp_communicator(place(0, 2, port), seconds(20));
  EXPECT_EQ(comm->all_reduce(std::int64_t{1}, Reduce::sum), 2);
  late.join();
  strangers.join();
}

/// Variables for the length of a test.
using Variables = std::vector<std::pair<const char*, const char*>>;
class Environment {
 public:
  explicit Environment(const Variables& values) {
    for (const char* name :
         {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID",
          "TORCHELASTIC_RESTART_COUNT", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID",
          "SLURM_STEP_NODELIST", "SLURM_JOB_ID", "SLURM_STEP_ID", "PLUMBLINE_BOOTSTRAP"}) {
      const char* value = std::getenv(name);
      saved_.emplace_back(name,
                          value != nullptr ? std::optional<std::string>(value) : std::nullopt);
      ::unsetenv(name);
    }
    for (const auto& [name, value] : values) ::setenv(name, value, 1);
  }
  ~Environment() {
    for (const auto& [name, value] : saved_) {
      ::unsetenv(name);
      if (value) ::setenv(name, value->c_str(), 1);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::vector<std::pair<const char*, std::optional<std::string>>> saved_;
};

TEST(LaunchEnvironmentTest, ReadsTorchrun) {
  const Environment set({{"RANK", "3"},
                         {"WORLD_SIZE", "8"},
                         {"LOCAL_RANK", "1"},
                         {"MASTER_ADDR", "node1"},
                         {"MASTER_PORT", "29500"}});
  const auto found = launch_environment();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->rank, 3);
  EXPECT_EQ(found->world, 8);
  EXPECT_EQ(found->local_rank, 1);
  EXPECT_EQ(found->address, "node1");
  EXPECT_EQ(found->port, 29500);
  EXPECT_EQ(announced_rank(), 3);
  ::setenv("TORCHELASTIC_RUN_ID", "run", 1);
  EXPECT_EQ(launch_environment()->port, 29501);  // the agent listens at 29500
  ::setenv("RANK", "8", 1);
  EXPECT_THROW((void)launch_environment(), UsageError);
  ::setenv("RANK", "three", 1);
  EXPECT_THROW((void)launch_environment(), UsageError);
  ::setenv("WORLD_SIZE", "1", 1);
  ::setenv("RANK", "0", 1);
  EXPECT_FALSE(launch_environment());
}

TEST(LaunchEnvironmentTest, ReadsSlurm) {
  const Environment set({{"SLURM_PROCID", "5"},
                         {"SLURM_STEP_NUM_TASKS", "16"},
                         {"SLURM_LOCALID", "5"},
                         {"SLURM_STEP_NODELIST", "gpu[007-008]"},
                         {"SLURM_JOB_ID", "123456"}});
  const auto found = launch_environment();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->rank, 5);
  EXPECT_EQ(found->world, 16);
  EXPECT_EQ(found->address, "gpu007");
  EXPECT_EQ(found->port, 23456);
  ::setenv("MASTER_PORT", "1234", 1);
  EXPECT_EQ(launch_environment()->port, 1234);
}

TEST(LaunchEnvironmentTest, FirstHostOfANodeList) {
  EXPECT_EQ(first_host("node1"), "node1");
  EXPECT_EQ(first_host("node1,node2"), "node1");
  EXPECT_EQ(first_host("gpu[007-010,12],login1"), "gpu007");
  EXPECT_EQ(first_host("rack[1-2]node[03,05]"), "rack1node03");
  EXPECT_EQ(first_host("a[3]-ib"), "a3-ib");
  EXPECT_THROW((void)first_host("gpu[007"), UsageError);
}

TEST(LaunchEnvironmentTest, BootstrapIsOneOfThree) {
  const Environment set(Variables{{"PLUMBLINE_BOOTSTRAP", "ssh"}});
  EXPECT_THROW((void)requested_bootstrap(), UsageError);
  ::setenv("PLUMBLINE_BOOTSTRAP", "env", 1);
  EXPECT_EQ(requested_bootstrap(), Bootstrap::env);
}

}  // namespace
}  // namespace plumbline
