// What a bench is: bench_command.cpp holds the table of them, one file each does the measuring.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "plumbline/communicator.h"

namespace plumbline {

struct BenchOptions {
  std::string input;   ///< files to measure on; empty: the bench's own input
  double seconds = 1;  ///< at least so long a figure
  const MpiSession* mpi = nullptr;
};

/// {"bench", "figures": [figure...]}. A figure: name, input (what was measured on), unit, ours and
/// peer ({"cpu", "wall"}: units a second of CPU time and of time), peer_name, limit (per second of
/// CPU time, or null), limit_name, of_peer and of_limit (ratios of rates by CPU time, or null),
/// equal (whether the peer's result is the same, or null); null where another rank prints. Throws
/// Error for input it cannot read.
using BenchFunction = nlohmann::ordered_json (*)(const BenchOptions&);

nlohmann::ordered_json bench_comm(const BenchOptions& options);
nlohmann::ordered_json bench_loader(const BenchOptions& options);
nlohmann::ordered_json bench_loss(const BenchOptions& options);
nlohmann::ordered_json bench_preprocess(const BenchOptions& options);
nlohmann::ordered_json bench_step(const BenchOptions& options);
nlohmann::ordered_json bench_tokenize(const BenchOptions& options);

/// Units done in a second of this thread's CPU time, and of time.
struct Rate {
  double cpu = 0, wall = 0;
};

/// Calls `once` until `seconds` have passed, after one call that is not counted; `units` a call.
[[nodiscard]] Rate measure(double seconds, double units, const std::function<void()>& once);

/// Runs a Python program with `arguments` in the environment that has OpenCLIP, and returns the
/// JSON document it prints; null, with the reason in `why`, when there is no such environment or
/// the program fails.
[[nodiscard]] nlohmann::ordered_json run_peer(const std::string& program,
                                              const std::string& arguments, std::string& why);

/// A figure as above; `limit` 0: none. `peer` as run_peer returns it: {"cpu", "wall", "result"}.
[[nodiscard]] nlohmann::ordered_json make_figure(nlohmann::ordered_json head, const Rate& ours,
                                                 double limit, const nlohmann::ordered_json& peer,
                                                 const std::string& why, const std::string& result);

/// A temporary folder, removed with what is in it.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace plumbline
