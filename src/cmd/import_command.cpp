#include <algorithm>
#include <iostream>

#include "cmd/command.h"
#include "cmd/written_folder.h"
#include "formats/import.h"
#include "train/checkpoint.h"
#include "train/run_config.h"

namespace plumbline {
namespace {

struct Arguments {
  std::string path, model, tokenizer, out;
};

TokenizerOptions choose_tokenizer(const ImportedModel& imported, const Arguments& arguments) {
  const TextOptions& text = imported.model->options().text;
  TokenizerOptions options;
  if (!arguments.tokenizer.empty()) {
    options = parse_tokenizer_spec(arguments.tokenizer);
  } else if (!imported.tokenizer_name.empty()) {
    const std::string example = imported.tokenizer_file.empty()
                                    ? std::string("sentencepiece:FILE.model")
                                    : str("sentencepiece:", imported.tokenizer_file);
    throw UsageError(str("the model has the tokenizer '", imported.tokenizer_name,
                         "', which its weights do not hold: name it with --tokenizer ",
                         "(for example ", example, ")"));
  } else {
    options.clean = imported.tokenizer_clean;
  }
  options.context_length = text.context_length;
  const int ids = make_tokenizer(options)->vocab_size();
  if (ids > text.vocab_size) {
    throw UsageError(str("the tokenizer ", options.kind, " has ", ids, " ids, the model only ",
                         text.vocab_size, ": name another with --tokenizer"));
  }
  return options;
}

/// A run file with what the other program's file tells: model, tokenizer, preprocessing, optimizer.
/// Where the data was is not among it.
RunConfig config_of(const ImportedModel& imported, const TokenizerOptions& tokenizer) {
  RunConfig config;
  const ModelOptions& options = imported.model->options();
  config.run.name = options.name;
  config.model.name = options.name;
  config.model.config = options.source_json;
  config.tokenizer = tokenizer;
  config.preprocess = options.preprocess;
  config.optimizer = imported.optimizer;
  if (options.init_logit_bias) config.loss.kind = "siglip";
  config.train.steps = std::max<std::int64_t>(imported.step, 1);
  SourceOptions unknown;
  unknown.name = "unknown";
  unknown.shards = {"unknown"};
  config.data.sources = {unknown};
  return config;
}

ExitCode run_import(const Arguments& arguments) {
  refuse_existing(arguments.out);
  ImportedModel imported = import_model(arguments.path, arguments.model);
  Checkpoint checkpoint;
  checkpoint.config_yaml = to_yaml(config_of(imported, choose_tokenizer(imported, arguments)));
  checkpoint.model_json = imported.model->options().source_json;
  checkpoint.model = imported.model->state_dict();
  checkpoint.ema = std::move(imported.average);
  checkpoint.optimizer = std::move(imported.moments);
  checkpoint.progress.step = imported.step;
  checkpoint.progress.samples = imported.samples;
  checkpoint.progress.applied_steps = imported.applied_steps;
  // No fingerprint: the file does not say where in the data the run stood.
  checkpoint.progress.loader.epoch = imported.epoch;
  std::int64_t bytes = 0;
  write_folder(arguments.out,
               [&](const std::string& out) { bytes = write_checkpoint(out, checkpoint); });
  for (const std::string& note : imported.notes) std::cout << note << '\n';
  std::cout << imported.format << ", " << checkpoint.model.size() << " tensors, step "
            << imported.step << (checkpoint.optimizer.empty() ? "" : ", with optimizer state")
            << ": " << arguments.out << "/" << checkpoint_name(imported.step) << " ("
            << bytes / 1000000 << " MB)\n";
  return ExitCode::done;
}

}  // namespace

void add_import(CLI::App& app, CommandContext& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("import", "A checkpoint from another program's file");
  command
      ->add_option(
          "PATH", arguments->path,
          "OpenCLIP .pt, .safetensors or hub folder, Hugging Face CLIPModel folder, OpenAI "
          "archive, SigLIP .npz")
      ->required();
  command->add_option("--model", arguments->model,
                      "Name or file of the model, where the file does not say");
  command->add_option("--tokenizer", arguments->tokenizer,
                      "kind[:path][,key=value]..., where it is not CLIP's");
  command
      ->add_option("--out", arguments->out,
                   "Folder that gets the checkpoint; must not exist, or be empty")
      ->required();
  command->callback(
      [arguments, &context] { context.action = [arguments] { return run_import(*arguments); }; });
}

}  // namespace plumbline
