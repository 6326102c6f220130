#include "dist/launch_environment.h"

#include <cstdlib>
#include <limits>

#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr int kHighestPort = 65535;

const char* variable(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? text : nullptr;
}

int number(const char* name, int lowest, int highest, const char* what) {
  const char* text = std::getenv(name);
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (end == text || *end != '\0' || value < lowest || value > highest) {
    throw UsageError(str("environment variable ", name, " is '", text, "', not ", what));
  }
  return static_cast<int>(value);
}

int count(const char* name) {
  return number(name, 0, std::numeric_limits<int>::max(), "a number of ranks");
}

void check_rank(const LaunchEnvironment& found, const char* rank, const char* world) {
  if (found.rank < found.world) return;
  throw UsageError(str("environment variable ", rank, " is ", found.rank, ", but ", world, " is ",
                       found.world, ": ranks count from 0"));
}

std::optional<LaunchEnvironment> torchrun_environment() {
  for (const char* name : {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}) {
    if (variable(name) == nullptr) return std::nullopt;
  }
  LaunchEnvironment found;
  found.rank = count("RANK");
  found.world = count("WORLD_SIZE");
  if (found.world < 2) return std::nullopt;
  check_rank(found, "RANK", "WORLD_SIZE");
  if (variable("LOCAL_RANK") != nullptr) found.local_rank = count("LOCAL_RANK");
  found.address = variable("MASTER_ADDR");
  found.port = number("MASTER_PORT", 1, kHighestPort - 1, "a port");
  const char* run = variable("TORCHELASTIC_RUN_ID");
  if (run != nullptr) {
    ++found.port;
    // A restart by torchrun must not meet processes of the attempt before it.
    const char* attempt = variable("TORCHELASTIC_RESTART_COUNT");
    found.job = str(run, " attempt ", attempt != nullptr ? attempt : "0");
  }
  return found;
}

std::optional<LaunchEnvironment> slurm_environment() {
  const bool complete = variable("SLURM_PROCID") != nullptr &&
                        variable("SLURM_STEP_NUM_TASKS") != nullptr &&
                        (variable("MASTER_ADDR") != nullptr || variable("SLURM_STEP_NODELIST"));
  if (!complete) return std::nullopt;
  LaunchEnvironment found;
  found.rank = count("SLURM_PROCID");
  found.world = count("SLURM_STEP_NUM_TASKS");
  if (found.world < 2) return std::nullopt;
  check_rank(found, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS");
  if (variable("SLURM_LOCALID") != nullptr) found.local_rank = count("SLURM_LOCALID");
  const char* address = variable("MASTER_ADDR");
  found.address = address != nullptr ? address : first_host(variable("SLURM_STEP_NODELIST"));
  const char* job = variable("SLURM_JOB_ID");
  const char* step = variable("SLURM_STEP_ID");
  found.job = str("slurm ", job != nullptr ? job : "", ".", step != nullptr ? step : "");
  // Two jobs that share a host have neighbouring numbers, and so different ports; below 32768,
  // where Linux begins to hand out ports of its own.
  constexpr int kFirstPort = 20000, kPorts = 10000;
  found.port = variable("MASTER_PORT") != nullptr
                   ? number("MASTER_PORT", 1, kHighestPort, "a port")
                   : kFirstPort + (job != nullptr ? std::abs(std::atoi(job)) % kPorts : 0);
  return found;
}

}  // namespace

Bootstrap requested_bootstrap() {
  const char* text = variable("PLUMBLINE_BOOTSTRAP");
  const std::string_view value = text != nullptr ? text : "auto";
  if (value == "auto") return Bootstrap::automatic;
  if (value == "mpi") return Bootstrap::mpi;
  if (value == "env") return Bootstrap::env;
  throw UsageError(
      str("environment variable PLUMBLINE_BOOTSTRAP is '", value, "', not one of auto, mpi, env"));
}

std::optional<LaunchEnvironment> launch_environment() {
  std::optional<LaunchEnvironment> found = torchrun_environment();
  return found ? found : slurm_environment();
}

int announced_rank() {
  for (const char* name :
       {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "RANK", "SLURM_PROCID"}) {
    if (const char* value = variable(name)) return std::atoi(value);
  }
  return 0;
}

// Slurm's job-wide SLURM_NTASKS is left out: it also stands in the batch shell, whose commands are
// alone.
std::pair<int, std::string> announced_world() {
  std::pair<int, std::string> announced{1, ""};
  for (const char* name :
       {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "WORLD_SIZE"}) {
    if (std::getenv(name) == nullptr) continue;
    const int value = count(name);
    if (value > announced.first) announced = {value, name};
  }
  return announced;
}

std::string first_host(const std::string& node_list) {
  const std::size_t end = node_list.find_first_of(",[");
  std::string host = node_list.substr(0, end);
  if (end == std::string::npos || node_list[end] == ',') return host;
  const std::size_t stop = node_list.find_first_of(",-]", end);
  if (stop == std::string::npos) {
    throw UsageError("environment variable SLURM_STEP_NODELIST is '" + node_list +
                     "', not a list of hosts");
  }
  host += node_list.substr(end + 1, stop - end - 1);
  const std::size_t close = node_list.find(']', stop);  // "rack[1-2]node[3-4]" goes on behind it
  if (close != std::string::npos && close + 1 < node_list.size() && node_list[close + 1] != ',') {
    host += first_host(node_list.substr(close + 1));
  }
  return host;
}

}  // namespace plumbline
