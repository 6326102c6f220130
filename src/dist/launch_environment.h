// What a launcher says in the environment of a process: which rank it is, of how many, and where
// rank 0 can be found. Covers launchers without MPI: torchrun, bare `srun`, own scripts.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace plumbline {

/// The place of this process in a job whose ranks find each other over TCP.
struct LaunchEnvironment {
  int rank = 0;
  int world = 1;
  int local_rank = -1;  ///< among the ranks of the host; -1: not said
  std::string address;  ///< host name or address of rank 0
  int port = 0;         ///< where rank 0 listens
  std::string job;      ///< equal on the ranks of a job and on no others
};

/// How the ranks find each other: PLUMBLINE_BOOTSTRAP = auto (default) | mpi | env. `auto` takes
/// MPI where its launcher has started the process, else the environment. Throws UsageError for
/// another value.
enum class Bootstrap { automatic, mpi, env };
[[nodiscard]] Bootstrap requested_bootstrap();

/// Reads RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT (torchrun and what imitates it),
/// else SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID and SLURM_STEP_NODELIST (whose first host
/// runs rank 0; MASTER_ADDR and MASTER_PORT override, and the port follows from the job's number).
/// Nothing for a world of one or when variables are missing. Under torchrun, whose agent itself
/// listens at MASTER_PORT, rank 0 listens one port higher. Throws UsageError naming a variable
/// whose value makes no sense.
[[nodiscard]] std::optional<LaunchEnvironment> launch_environment();

/// The rank that a launcher of any kind announced, else 0: for messages before the ranks know each
/// other. Never throws.
[[nodiscard]] int announced_rank();

/// The largest world size that a launcher announced, and the variable that did; 1 without one.
[[nodiscard]] std::pair<int, std::string> announced_world();

/// The first host of a Slurm node list: "gpu[007-010,12],login1" -> "gpu007".
[[nodiscard]] std::string first_host(const std::string& node_list);

}  // namespace plumbline
