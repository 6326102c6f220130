// Collectives on host memory: bus bandwidth and latency of the MPI back end under a launcher, of
// the in-process one without. Bus bandwidth is what a ring would have to carry over each link: a
// rank's bytes times 2 (W-1)/W for an all-reduce, (W-1)/W of all bytes for gather and scatter.
#include <mpi.h>
#include <time.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

#include "cmd/bench.h"
#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kRanksInProcess = 2;
constexpr std::int64_t kCopyBytes = std::int64_t{32} << 20;

std::vector<std::int64_t> read_sizes(const std::string& list) {
  if (list.empty()) return {std::int64_t{1} << 10, std::int64_t{1} << 20, std::int64_t{32} << 20};
  std::vector<std::int64_t> sizes;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    std::int64_t size = 0;
    const auto [stop, failed] = std::from_chars(list.data() + begin, list.data() + end, size);
    if (failed != std::errc() || stop != list.data() + end || size < 4 || size > 1 << 30) {
      throw UsageError(
          str("--input ", list, ": message sizes are bytes from 4 to 2^30, as 1024,", "1048576"));
    }
    sizes.push_back(size);
    begin = end + 1;
  }
  return sizes;
}

double seconds_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Times {
  double cpu_s = 0, wall_s = 0;  ///< of one call on rank 0
};

/// As many calls as take `seconds`, the same on every rank.
Times time_calls(Communicator& ranks, double seconds, const std::function<void()>& once) {
  once();
  ranks.barrier();
  double begin = seconds_of(CLOCK_MONOTONIC);
  once();
  const double first = seconds_of(CLOCK_MONOTONIC) - begin;
  const double wanted = std::clamp(seconds / std::max(first, 1e-7), 1.0, 1e6);
  const auto calls = static_cast<std::int64_t>(ranks.all_reduce(wanted, Reduce::max));
  ranks.barrier();
  begin = seconds_of(CLOCK_MONOTONIC);
  const double cpu = seconds_of(CLOCK_THREAD_CPUTIME_ID);
  for (std::int64_t i = 0; i < calls; ++i) once();
  const auto n = static_cast<double>(calls);
  return {(seconds_of(CLOCK_THREAD_CPUTIME_ID) - cpu) / n,
          (seconds_of(CLOCK_MONOTONIC) - begin) / n};
}

/// Buffers of one message: every rank's `bytes`, and those of all of them.
struct Message {
  std::int64_t bytes = 0, world = 1;
  std::vector<float> mine, all;
  Message(std::int64_t size, int ranks)
      : bytes(size / 4 * 4),
        world(ranks),
        mine(static_cast<std::size_t>(size / 4), 1.0F),
        all(mine.size() * static_cast<std::size_t>(ranks), 1.0F) {}
  [[nodiscard]] std::int64_t count() const { return std::ssize(mine); }
  [[nodiscard]] int mpi_count() const { return static_cast<int>(count()); }
};

struct Row {
  const char* name;
  [[nodiscard]] double ring_bytes(double bytes, double world) const {
    if (std::string_view(name) == "broadcast") return bytes;
    return (std::string_view(name) == "all_reduce" ? 2 : world) * (world - 1) / world * bytes;
  }
  void (*ours)(Communicator&, Message&);
  void (*mpi)(Message&);  ///< Open MPI's own
};

constexpr auto kFloat = ElementType::f32;
const Row kRows[] = {
    {"all_reduce",
     [](Communicator& c, Message& m) {
       c.all_reduce(m.mine.data(), m.count(), kFloat, Reduce::max);
     },
     [](Message& m) {
       MPI_Allreduce(MPI_IN_PLACE, m.mine.data(), m.mpi_count(), MPI_FLOAT, MPI_MAX,
                     MPI_COMM_WORLD);
     }},
    {"all_gather",
     [](Communicator& c, Message& m) {
       c.all_gather(m.mine.data(), m.all.data(), m.count(), kFloat);
     },
     [](Message& m) {
       MPI_Allgather(m.mine.data(), m.mpi_count(), MPI_FLOAT, m.all.data(), m.mpi_count(),
                     MPI_FLOAT, MPI_COMM_WORLD);
     }},
    {"reduce_scatter",
     [](Communicator& c, Message& m) {
       c.reduce_scatter(m.all.data(), m.mine.data(), m.count(), kFloat, Reduce::max);
     },
     [](Message& m) {
       MPI_Reduce_scatter_block(m.all.data(), m.mine.data(), m.mpi_count(), MPI_FLOAT, MPI_MAX,
                                MPI_COMM_WORLD);
     }},
    {"broadcast",
     [](Communicator& c, Message& m) { c.broadcast(m.mine.data(), m.count(), kFloat, 0); },
     [](Message& m) { MPI_Bcast(m.mine.data(), m.mpi_count(), MPI_FLOAT, 0, MPI_COMM_WORLD); }},
};

/// GB/s of a rank's memcpy while all ranks copy.
double copy_rate(Communicator& ranks, double seconds) {
  std::vector<char> from(static_cast<std::size_t>(kCopyBytes), 1), to(from.size());
  const Times t =
      time_calls(ranks, seconds, [&] { std::memcpy(to.data(), from.data(), to.size()); });
  return ranks.all_reduce(static_cast<double>(kCopyBytes) / t.wall_s / 1e9, Reduce::min);
}

Json figure_of(const Row& row, const Message& m, const Communicator& ranks, const Times& ours,
               const Times& peer, double copy) {
  const double gb =
      row.ring_bytes(static_cast<double>(m.bytes), static_cast<double>(m.world)) / 1e9;
  const std::string size = m.bytes >= 1 << 20 ? str(m.bytes >> 20, " MiB")
                           : m.bytes >= 1024  ? str(m.bytes >> 10, " KiB")
                                              : str(m.bytes, " bytes");
  Json f = {{"name", str(row.name, " of ", size, " a rank")},
            {"input", str(ranks.name(), ", ", m.world, " ranks, float32, bytes on a ring's links")},
            {"unit", "GB"},
            {"peer_name", "Open MPI's own collective"},
            {"limit_name", "memcpy of 32 MiB, all ranks at once"},
            {"collective", row.name},
            {"backend", ranks.name()},
            {"world", m.world},
            {"bytes", m.bytes},
            {"latency_us", 1e6 * ours.wall_s},
            {"peer_latency_us", nullptr},
            {"ours", {{"cpu", gb / ours.cpu_s}, {"wall", gb / ours.wall_s}}},
            {"peer", nullptr},
            {"of_peer", nullptr},
            {"equal", nullptr},
            {"limit", copy},
            {"of_limit", gb / ours.wall_s / copy}};
  if (peer.wall_s > 0) {
    f["peer"] = {{"cpu", gb / peer.cpu_s}, {"wall", gb / peer.wall_s}};
    f["of_peer"] = peer.wall_s / ours.wall_s;
    f["peer_latency_us"] = 1e6 * peer.wall_s;
    f["equal"] = true;  // maxima are what they are, in any order
  } else {
    f["peer_absent"] = "ranks are threads; mpirun -n 2 plumbline bench comm measures both";
  }
  return f;
}

void measure_all(Communicator& ranks, const BenchOptions& options,
                 const std::vector<std::int64_t>& sizes, bool mpi, Json& figures) {
  const double copy = copy_rate(ranks, options.seconds);
  for (const std::int64_t size : sizes) {
    Message message(size, ranks.size());
    for (const Row& row : kRows) {
      const Times ours = time_calls(ranks, options.seconds, [&] { row.ours(ranks, message); });
      Times peer;
      if (mpi) peer = time_calls(ranks, options.seconds, [&] { row.mpi(message); });
      if (ranks.rank() == 0) figures.push_back(figure_of(row, message, ranks, ours, peer, copy));
    }
  }
}

}  // namespace

Json bench_comm(const BenchOptions& options) {
  const std::vector<std::int64_t> sizes = read_sizes(options.input);
  Json figures = Json::array();
  require(options.mpi != nullptr, "bench comm: the program's MPI session is missing");
  const auto ranks = make_host_communicator(*options.mpi);
  if (ranks->size() > 1) {
    measure_all(*ranks, options, sizes, ranks->name() == "mpi", figures);
    if (ranks->rank() != 0) return nullptr;
  } else {
    run_in_process(kRanksInProcess, [&](Communicator& threads) {
      measure_all(threads, options, sizes, false, figures);
    });
  }
  return {{"bench", "comm"}, {"figures", figures}};
}

}  // namespace plumbline
