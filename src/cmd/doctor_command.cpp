// What this machine has, what is missing, and the command that mends it.
#include <ATen/Version.h>
#include <mpi.h>
#include <sys/sysinfo.h>
#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cmd/command.h"
#include "core/assets.h"
#include "plumbline/version.h"

namespace plumbline {
namespace {

struct Finding {
  std::string what;
  std::string found;
  std::string mend;  ///< empty: nothing to do
};

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string version(text, static_cast<std::size_t>(length));
  return version.substr(0, version.find(','));
}

Finding asset(const std::string& name) {
  try {
    return {"asset " + name, find_asset(name), ""};
  } catch (const Error&) {
    return {"asset " + name, "missing", "launch/setup.sh"};
  }
}

std::vector<Finding> examine() {
  std::vector<Finding> all;
  all.push_back({"plumbline", version_string() + " (" + version_commit() + ")", ""});
  all.push_back({"LibTorch", TORCH_VERSION, ""});
  all.push_back({"MPI", mpi_version(), ""});
  const auto gpus = torch::cuda::device_count();
  all.push_back({"GPUs", gpus > 0 ? std::to_string(gpus) : "none: training uses the CPU", ""});
  all.push_back({"cores", std::to_string(std::thread::hardware_concurrency()), ""});
  struct sysinfo info = {};
  sysinfo(&info);
  const auto total_mb = (static_cast<std::uint64_t>(info.totalram) * info.mem_unit) >> 20;
  all.push_back({"memory", str(total_mb, " MB"), ""});
  all.push_back({"codecs", "JPEG, PNG, WebP (linked)", ""});
  for (const char* name : {"bpe_simple_vocab_16e6.txt.gz", "imagenet_classnames.txt",
                           "templates/openai80.txt", "plotly.min.js"}) {
    all.push_back(asset(name));
  }
  const bool mpirun = std::system("command -v mpirun >/dev/null 2>&1") == 0;
  all.push_back({"mpirun", mpirun ? "found" : "missing: one rank only",
                 mpirun ? "" : "apt-get install openmpi-bin"});
  return all;
}

ExitCode run_doctor(bool json) {
  const std::vector<Finding> all = examine();
  bool sound = true;
  auto list = nlohmann::ordered_json::array();
  for (const Finding& f : all) {
    sound = sound && f.mend.empty();
    list.push_back({{"what", f.what}, {"found", f.found}, {"mend", f.mend}});
    if (json) continue;
    std::cout << (f.mend.empty() ? "  ok       " : "  MISSING  ") << f.what << ": " << f.found;
    if (!f.mend.empty()) std::cout << "  ->  " << f.mend;
    std::cout << '\n';
  }
  if (json) std::cout << list.dump(2) << '\n';
  return sound ? ExitCode::done : ExitCode::failed;
}

}  // namespace

std::string version_report() {
  return str("plumbline ", version_string(), " (commit ", version_commit(), ")\nLibTorch ",
             TORCH_VERSION, ", CUDA ", PLUMBLINE_CUDA_VERSION, ", NCCL ", PLUMBLINE_NCCL_VERSION,
             "\n", mpi_version());
}

void add_doctor(CLI::App& app, CommandContext& context) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("doctor", "What was found here, and what is missing");
  command->add_flag("--json", *json, "One JSON document on stdout");
  command->callback([json, &context] { context.action = [json] { return run_doctor(*json); }; });
}

}  // namespace plumbline
