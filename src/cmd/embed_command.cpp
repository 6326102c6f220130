#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cmd/command.h"
#include "dist/agree.h"
#include "eval/features.h"
#include "log/log.h"
#include "ops/device.h"
#include "plumbline/eval.h"
#include "train/trained_model.h"

namespace plumbline {
namespace {

struct Arguments {
  std::string checkpoint, images, texts, out;
};

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw UsageError(str("cannot open ", path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// What this command reads, before any rank computes.
struct Inputs {
  TrainedModel trained;
  at::Device device = at::kCPU;
  std::vector<ImageRef> images;
  std::vector<std::string> texts;
};

Inputs read_inputs(const Arguments& arguments, int local_rank) {
  if (arguments.images.empty() && arguments.texts.empty()) {
    throw UsageError("embed: give --images, --texts or both");
  }
  const std::filesystem::path out = std::filesystem::absolute(arguments.out);
  if (std::filesystem::is_directory(out)) {
    throw UsageError(str("--out ", arguments.out, ": is a folder; name a .safetensors file"));
  }
  check_output_folder("--out", out.parent_path().string());
  Inputs inputs;
  if (!arguments.images.empty()) inputs.images = list_images(arguments.images);
  if (!arguments.texts.empty()) inputs.texts = read_lines(arguments.texts);
  inputs.trained = open_checkpoint(arguments.checkpoint);
  inputs.device = pick_device("auto", local_rank);
  inputs.trained.model->to(inputs.device);
  return inputs;
}

void write_features(const TensorFile& file, const std::string& out) {
  std::filesystem::create_directories(std::filesystem::absolute(out).parent_path());
  write_safetensors(out, file);
  for (const auto& [name, tensor] : file.tensors) {
    std::cout << name << " [" << tensor.size(0) << ", " << tensor.size(1) << "]\n";
  }
}

ExitCode run_embed(const Arguments& arguments, const CommandContext& command) {
  const auto host = make_host_communicator(command.mpi);
  const Log log("", host->rank() == 0);
  Inputs inputs;
  agree(*host, [&] { inputs = read_inputs(arguments, host->local_rank()); });
  const TrainedModel& trained = inputs.trained;
  EvalContext context{*trained.model, *trained.tokenizer, trained.preprocess, *host, inputs.device};
  TensorFile file;
  std::size_t refused = 0;
  if (!arguments.images.empty()) {
    const ImageFeatures features = embed_images(inputs.images, context);
    file.tensors.emplace_back("image_features", features.features_ND);
    // Keys are bytes of a tar or a path, not always UTF-8.
    file.metadata.emplace_back("keys",
                               nlohmann::json(features.keys)
                                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    if (host->rank() == 0) {
      for (const std::string& why : features.refused) log.warn(why);
    }
    refused = features.refused.size();
  }
  if (!arguments.texts.empty()) {
    file.tensors.emplace_back("text_features", gather_text_features(inputs.texts, context));
  }
  agree(*host, [&] {
    if (host->rank() == 0) write_features(file, arguments.out);
  });
  return refused == 0 ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_embed(CLI::App& app, CommandContext& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("embed", "Unit-norm features of images and texts");
  command->add_option("--checkpoint", arguments->checkpoint, "Checkpoint or run folder")
      ->required();
  command->add_option("--images", arguments->images, "LIST.txt (a path a line) or shards");
  command->add_option("--texts", arguments->texts, "A text a line");
  command->add_option("--out", arguments->out, "A .safetensors file")->required();
  command->callback([arguments, &context] {
    context.action = [arguments, &context] { return run_embed(*arguments, context); };
  });
}

}  // namespace plumbline
