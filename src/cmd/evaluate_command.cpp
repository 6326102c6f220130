#include <iostream>

#include "cmd/command.h"
#include "core/file.h"
#include "dist/agree.h"
#include "eval/classifier_cache.h"
#include "log/log.h"
#include "ops/device.h"
#include "plumbline/eval.h"
#include "train/merge.h"
#include "train/trained_model.h"

namespace plumbline {
namespace {

struct Arguments {
  std::string checkpoint, suite, out;
  std::vector<std::string> set;
  bool json = false;
};

ExitCode run_evaluate(const Arguments& arguments, const CommandContext& context) {
  const auto host = make_host_communicator(context.mpi);
  const Log log("", host->rank() == 0);
  TrainedModel trained;
  EvalSuite suite;
  std::optional<MergeRecord> merge;
  at::Device device = at::kCPU;
  agree(*host, [&] {
    suite = read_suite(arguments.suite, arguments.set);
    check_output_folder("--out", arguments.out);
    check_paths(suite);
    trained = open_checkpoint(arguments.checkpoint);
    merge = read_merge_record(trained.folder);
    device = pick_device("auto", host->local_rank());
    trained.model->to(device);
  });
  EvalContext eval{*trained.model, *trained.tokenizer, trained.preprocess, *host, device};
  eval.progress = [&](const std::string& set, std::int64_t done, std::int64_t total) {
    if (log.is_terminal()) log.progress(str(set, "  ", done, "/", total, " images a rank"));
  };
  eval.classifier_cache = classifier_cache_folder(suite.classifier_cache);
  eval.warn = [&](const std::string& line) { log.warn(line); };
  EvalResults results = evaluate(suite, eval);
  log.progress("");
  results.checkpoint = trained.folder;
  results.step = trained.progress.step;
  results.samples = trained.progress.samples;
  results.model = trained.model->options().name;
  results.ema = trained.ema;
  results.merge = merge;
  agree(*host, [&] {
    if (host->rank() == 0) write_results(results, arguments.out);
  });
  if (host->rank() == 0) {
    if (arguments.json) {
      std::cout << read_file(arguments.out + "/results.json");
    } else {
      std::cout << print_table(results) << "\nwritten to " << arguments.out << '\n';
    }
  }
  return ExitCode::done;
}

}  // namespace

void add_evaluate(CLI::App& app, CommandContext& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("evaluate", "Accuracy or retrieval on the sets of a suite");
  command->add_option("--checkpoint", arguments->checkpoint, "Checkpoint or run folder")
      ->required();
  command->add_option("--suite", arguments->suite, "Evaluation sets (YAML)")->required();
  command->add_option("--out", arguments->out, "Folder for results.json and predictions")
      ->required();
  command->add_option("--set", arguments->set, "Override one key of the suite: key.path=value")
      ->take_all()
      ->allow_extra_args(false);
  command->add_flag("--json", arguments->json, "Print results.json on stdout");
  command->callback([arguments, &context] {
    context.action = [arguments, &context] { return run_evaluate(*arguments, context); };
  });
}

}  // namespace plumbline
