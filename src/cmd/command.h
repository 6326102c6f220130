// One file a command. Each adds its subcommand, options and action to the program.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {

/// What a command works with. Its callback only stores `action`: main runs it, once, under the one
/// place that turns errors into messages and exit codes.
struct CommandContext {
  const MpiSession& mpi;
  std::vector<std::string> command_line;
  std::function<ExitCode()> action = {};
};

void add_train(CLI::App& app, CommandContext& context);
void add_evaluate(CLI::App& app, CommandContext& context);
void add_embed(CLI::App& app, CommandContext& context);
void add_merge(CLI::App& app, CommandContext& context);
void add_plan(CLI::App& app, CommandContext& context);
void add_report(CLI::App& app, CommandContext& context);
void add_tokenize(CLI::App& app, CommandContext& context);
void add_preprocess(CLI::App& app, CommandContext& context);
void add_data(CLI::App& app, CommandContext& context);
void add_checkpoint(CLI::App& app, CommandContext& context);
void add_import(CLI::App& app, CommandContext& context);
void add_export(CLI::App& app, CommandContext& context);
void add_bench(CLI::App& app, CommandContext& context);
void add_doctor(CLI::App& app, CommandContext& context);

/// Throws UsageError unless `folder` is a folder, or can be made one: called before the work, so
/// that hours of it do not end at a wrong `--out`. `flag` names the argument. Writes nothing.
void check_output_folder(const std::string& flag, const std::string& folder);

/// What `--version` prints.
[[nodiscard]] std::string version_report();

}  // namespace plumbline
