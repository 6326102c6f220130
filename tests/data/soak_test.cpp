// A loader under faults for PLUMBLINE_SOAK_SECONDS (default 1): commands that die at random bytes,
// broken samples, stops and resumes at any number of ranks and threads. The rows must be those of
// an undisturbed run.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "plumbline/error.h"
#include "tests/data/loader_runs.h"

namespace plumbline {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSteps = 24;

double soak_seconds() {
  const char* text = std::getenv("PLUMBLINE_SOAK_SECONDS");
  return text ? std::atof(text) : 1;
}

/// Every 11th image is cut.
void write_faulty_shards(const TempFolder& folder) {
  for (int s = 0; s < 3; ++s) {
    Members members = samples_of("k", 40, 40 * s);
    for (std::size_t i = 0; i < members.size(); i += 22) {
      members[i].second.resize(members[i].second.size() / 2);
    }
    folder.write(str(s, ".tar"), tar_of(members));
  }
}

/// Half of its calls die after a random number of bytes.
std::string dying_pipe(const TempFolder& folder) {
  return "pipe:n=$(od -An -N2 -tu2 /dev/urandom); f=" + folder / "{0..2}.tar" +
         "; if [ $n -gt 32768 ]; then tail -c +$(({offset}+1)) $f; "
         "else tail -c +$(({offset}+1)) $f | head -c $n; exit 1; fi";
}

TEST(Soak, FaultsChangeNothing) {
  const TempFolder folder;
  write_faulty_shards(folder);
  DataOptions local = shard_options(folder);
  local.errors.max_rate = 1;
  DataOptions remote = local;
  remote.sources[0].shards = {dying_pipe(folder)};
  remote.allow_pipe = true;
  remote.pipe = {5, 50, 0.001};
  remote.index_dir = folder / "index";
  std::filesystem::create_directories(remote.index_dir);
  const std::vector<std::string> expected = rows_of(local, kSteps, 1);

  std::mt19937 random(1);
  const auto end = Clock::now() + std::chrono::duration<double>(soak_seconds());
  int rounds = 0;
  do {
    std::vector<std::string> got;
    std::optional<LoaderState> state;
    // A resume asks for the same settings, so a whole round is local or remote.
    DataOptions options = random() % 2 == 0 ? local : remote;
    while (std::ssize(got) < std::ssize(expected)) {
      const int done = static_cast<int>(std::ssize(got)) / 16;
      const int steps = std::min(kSteps - done, 1 + static_cast<int>(random() % 9));
      options.threads = 1 + static_cast<int>(random() % 5);
      LoaderState after;
      const auto rows = rows_of(options, steps, 1 << random() % 3, state, &after);
      got.insert(got.end(), rows.begin(), rows.end());
      state = after;
    }
    ASSERT_EQ(got, expected) << "round " << rounds;
    ++rounds;
  } while (Clock::now() < end);
  RecordProperty("rounds", rounds);
}

}  // namespace
}  // namespace plumbline
