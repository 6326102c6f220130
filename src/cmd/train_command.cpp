#include "cmd/command.h"
#include "dist/agree.h"
#include "plumbline/train.h"
#include "train/run_config.h"

namespace plumbline {
namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> set;
  std::string resume = "auto";
};

ExitCode run_train(const Arguments& arguments, const CommandContext& context) {
  Ranks ranks{make_host_communicator(context.mpi), nullptr};
  RunConfig config;
  agree(*ranks.host, [&] { config = read_run(arguments.config, arguments.set); });
  TrainRequest request;
  request.resume = arguments.resume;
  request.command_line = context.command_line;
  return train(config, request, ranks);
}

}  // namespace

void add_train(CLI::App& app, CommandContext& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("train", "Pre-train or fine-tune a model");
  command->add_option("CONFIG", arguments->config, "Run file (YAML)")->required();
  command->add_option("--set", arguments->set, "Override one key: key.path=value")
      ->take_all()
      ->allow_extra_args(false);
  command
      ->add_option("--resume", arguments->resume,
                   "auto: from the newest valid checkpoint of run.dir; never; or a checkpoint")
      ->capture_default_str();
  command->callback([arguments, &context] {
    context.action = [arguments, &context] { return run_train(*arguments, context); };
  });
}

}  // namespace plumbline
