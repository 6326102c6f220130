#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cmd/command.h"
#include "train/checkpoint.h"

namespace plumbline {
namespace {

struct Arguments {
  std::string path;
  bool json = false;
};

/// The step folders that PATH means: itself, or those of a run folder or checkpoints/.
std::vector<std::string> folders_of(const std::string& path) {
  if (std::filesystem::exists(path + "/manifest.json")) return {path};
  for (const std::string& dir : {path + "/checkpoints", path}) {
    const std::vector<std::string> folders = list_checkpoints(dir);
    if (!folders.empty()) return folders;
  }
  throw UsageError(str(path, ": no checkpoint there"));
}

ExitCode run_list(const Arguments& arguments) {
  auto list = nlohmann::ordered_json::array();
  for (const std::string& folder : folders_of(arguments.path)) {
    const bool complete = std::filesystem::exists(folder + "/manifest.json");
    std::uintmax_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      bytes += entry.file_size();
    list.push_back({{"path", folder}, {"complete", complete}, {"bytes", bytes}});
    if (!arguments.json) {
      std::cout << folder << "  " << bytes / 1000000 << " MB"
                << (complete ? "" : "  incomplete (no manifest)") << '\n';
    }
  }
  if (arguments.json) std::cout << list.dump(2) << '\n';
  return ExitCode::done;
}

ExitCode run_verify(const Arguments& arguments) {
  bool sound = true;
  auto list = nlohmann::ordered_json::array();
  for (const std::string& folder : folders_of(arguments.path)) {
    const std::string problem = verify_checkpoint(folder);
    sound = sound && problem.empty();
    list.push_back({{"path", folder}, {"intact", problem.empty()}, {"problem", problem}});
    if (!arguments.json) {
      std::cout << folder << "  " << (problem.empty() ? "intact" : problem) << '\n';
    }
  }
  if (arguments.json) std::cout << list.dump(2) << '\n';
  return sound ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_checkpoint(CLI::App& app, CommandContext& context) {
  CLI::App* group =
      app.add_subcommand("checkpoint", "What checkpoints are there, and are they intact");
  group->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, ExitCode (*run)(const Arguments&)) {
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = group->add_subcommand(name, help);
    command->add_option("PATH", arguments->path, "Run folder, checkpoints/ or a checkpoint")
        ->required();
    command->add_flag("--json", arguments->json, "One JSON document on stdout");
    command->callback([arguments, run, &context] {
      context.action = [arguments, run] { return run(*arguments); };
    });
  };
  add("list", "List checkpoints, newest first", run_list);
  add("verify", "Check sizes and checksums; exit 1 when something is damaged", run_verify);
}

}  // namespace plumbline
