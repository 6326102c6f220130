#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cmd/command.h"
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

ExitCode run_embed(const Arguments& arguments) {
  if (arguments.images.empty() && arguments.texts.empty()) {
    throw UsageError("embed: give --images, --texts or both");
  }
  TrainedModel trained = open_checkpoint(arguments.checkpoint);
  const at::Device device = pick_device("auto", 0);
  trained.model->to(device);
  const auto alone = make_single_communicator();
  EvalContext context{*trained.model, *trained.tokenizer, trained.preprocess, *alone, device};
  const Log log("", true);
  TensorFile file;
  std::size_t refused = 0;
  if (!arguments.images.empty()) {
    const ImageFeatures features = embed_images(list_images(arguments.images), context);
    file.tensors.emplace_back("image_features", features.features_ND);
    // Keys are bytes of a tar or a path, not always UTF-8.
    file.metadata.emplace_back("keys",
                               nlohmann::json(features.keys)
                                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    for (const std::string& why : features.refused) log.warn(why);
    refused = features.refused.size();
  }
  if (!arguments.texts.empty()) {
    file.tensors.emplace_back("text_features", embed_texts(read_lines(arguments.texts), context));
  }
  write_safetensors(arguments.out, file);
  for (const auto& [name, tensor] : file.tensors) {
    std::cout << name << " [" << tensor.size(0) << ", " << tensor.size(1) << "]\n";
  }
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
  command->callback(
      [arguments, &context] { context.action = [arguments] { return run_embed(*arguments); }; });
}

}  // namespace plumbline
