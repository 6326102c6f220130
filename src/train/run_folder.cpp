#include "train/run_folder.h"

#include <unistd.h>

#include <ATen/Version.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "dist/agree.h"
#include "plumbline/error.h"
#include "plumbline/version.h"
#include "train/checkpoint.h"
#include "train/metrics.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

void make_folder(const std::string& path) {
  std::error_code failed;
  fs::create_directories(path, failed);
  if (failed) throw Error(str("cannot create the run folder ", path, ": ", failed.message()));
  if (::access(path.c_str(), W_OK) != 0)
    throw Error(str("the run folder ", path, " is not writable"));
}

void write_environment(const std::string& path, Communicator& ranks,
                       const std::vector<std::string>& hosts,
                       const std::vector<std::string>& command_line) {
  nlohmann::ordered_json environment = {{"plumbline", version_string()},
                                        {"commit", version_commit()},
                                        {"libtorch", TORCH_VERSION},
                                        {"command", command_line},
                                        {"hosts", hosts},
                                        {"world", ranks.size()},
                                        {"communicator", ranks.name()},
                                        {"cuda_devices", torch::cuda::device_count()},
                                        {"compute_threads", at::get_num_threads()},
                                        {"time", unix_time()}};
  write_file_atomically(path, environment.dump(2) + "\n");
}

}  // namespace

std::string RunFolder::log(int rank) const {
  char name[32];
  std::snprintf(name, sizeof name, "/log/rank-%05d.log", rank);
  return root + name;
}

std::string RunFolder::evaluation(std::int64_t step) const {
  return root + "/evaluation/" + checkpoint_name(step);
}

RunFolder make_run_folder(const RunConfig& config, Communicator& ranks) {
  RunFolder folder{config.run.dir};
  const bool here = ranks.rank() == 0 && fs::exists(folder.root);
  folder.is_new = ranks.all_reduce(here ? 1.0 : 0.0, Reduce::max) == 0;
  agree(ranks, [&] {
    make_folder(folder.root);
    for (const char* name : {"/log", "/checkpoints", "/evaluation"}) {
      make_folder(folder.root + name);
    }
  });
  return folder;
}

void forget_run_folder(const RunFolder& folder, Communicator& ranks) {
  if (!folder.is_new) return;
  std::error_code failed;
  fs::remove(folder.log(ranks.rank()), failed);
  ranks.barrier();
  if (ranks.rank() != 0) return;
  // Only empty folders go: whatever else stands there is not ours.
  for (const char* name : {"/log", "/checkpoints", "/evaluation", ""}) {
    fs::remove(folder.root + name, failed);
  }
}

void describe_run(const RunFolder& folder, const RunConfig& config, Communicator& ranks,
                  const std::vector<std::string>& command_line) {
  const std::vector<std::string> hosts = ranks.all_gather_bytes(host_name());
  agree(ranks, [&] {
    if (ranks.rank() != 0) return;
    write_file_atomically(folder.root + "/config.yaml", to_yaml(config));
    write_environment(folder.root + "/environment.json", ranks, hosts, command_line);
  });
}

}  // namespace plumbline
