#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cmd/command.h"
#include "cmd/written_folder.h"
#include "core/assets.h"
#include "formats/huggingface.h"
#include "formats/openclip.h"
#include "train/checkpoint.h"
#include "train/run_config.h"

namespace plumbline {
namespace {

struct Arguments {
  std::string checkpoint, format, out;
};

/// The sigmoid loss gives a logit_bias to any model; here the configuration must say so.
ModelOptions options_of(const Checkpoint& checkpoint, const std::string& where) {
  auto json = nlohmann::ordered_json::parse(checkpoint.model_json);
  for (const auto& [name, tensor] : checkpoint.model) {
    if (name == "logit_bias" && !json.contains("init_logit_bias")) json["init_logit_bias"] = -10;
  }
  return parse_model(json.dump(), where);
}

ExportedModel model_of(const Checkpoint& checkpoint, const RunConfig& config,
                       const std::string& where) {
  ExportedModel model;
  model.options = options_of(checkpoint, where);
  model.tensors = checkpoint.model;
  model.preprocess = config.preprocess;
  model.preprocess.height = model.options.vision.image_height;
  model.preprocess.width = model.options.vision.image_width;
  model.clip_tokenizer = config.tokenizer.kind == "clip" && config.tokenizer.path.empty();
  model.clean = config.tokenizer.clean;
  return model;
}

TrainingState training_of(const Checkpoint& checkpoint, const RunConfig& config) {
  TrainingState state;
  state.name = config.run.name;
  state.moments = checkpoint.optimizer;
  state.average = checkpoint.ema;
  state.optimizer = config.optimizer;
  state.epoch = checkpoint.progress.loader.epoch;
  state.step = checkpoint.progress.step;
  state.applied_steps = checkpoint.progress.applied_steps;
  state.samples = checkpoint.progress.samples;
  return state;
}

ExitCode run_export(const Arguments& arguments) {
  refuse_existing(arguments.out);
  const bool training = arguments.format == "openclip-train";
  const std::string folder = resolve_checkpoint(arguments.checkpoint);
  Checkpoint checkpoint = read_checkpoint(folder, training);
  // Weights alone are the averaged ones, where there are any, as evaluate and embed take them.
  const bool raw = std::filesystem::path(arguments.checkpoint).filename() == "model.safetensors";
  if (!training && !raw && !checkpoint.ema.empty()) checkpoint.model = checkpoint.ema;
  const RunConfig config = parse_run(checkpoint.config_yaml, folder + "/manifest.json");
  const ExportedModel model = model_of(checkpoint, config, folder);
  if (!model.options.class_names.empty() && arguments.format != "safetensors") {
    throw UsageError(str(folder, " is a classifier without a text tower, which ", arguments.format,
                         " cannot hold; safetensors can"));
  }
  write_folder(arguments.out, [&](const std::string& out) {
    if (arguments.format == "openclip") {
      write_openclip_folder(out, model);
    } else if (arguments.format == "hf") {
      write_hugging_face(out, model, find_asset("bpe_simple_vocab_16e6.txt.gz"));
    } else if (arguments.format == "safetensors") {
      write_safetensors(out + "/model.safetensors", {model.tensors, {}});
    } else {
      const TrainingState state = training_of(checkpoint, config);
      write_openclip_training(str(out, "/epoch_", state.epoch, ".pt"), model, state);
    }
  });
  for (const auto& entry : std::filesystem::directory_iterator(arguments.out)) {
    std::cout << entry.path().string() << "  " << entry.file_size() << " bytes\n";
  }
  return ExitCode::done;
}

}  // namespace

void add_export(CLI::App& app, CommandContext& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("export", "A checkpoint as another program loads it");
  command->add_option("--checkpoint", arguments->checkpoint, "Checkpoint or run folder")
      ->required();
  command->add_option("--format", arguments->format, "openclip, hf, safetensors or openclip-train")
      ->required()
      ->check(CLI::IsMember({"openclip", "hf", "safetensors", "openclip-train"}));
  command->add_option("--out", arguments->out, "Folder to write; must not exist, or be empty")
      ->required();
  command->callback(
      [arguments, &context] { context.action = [arguments] { return run_export(*arguments); }; });
}

}  // namespace plumbline
