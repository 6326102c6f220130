#include <array>
#include <iostream>

#include "cmd/command.h"
#include "image/npy.h"
#include "plumbline/image.h"

namespace plumbline {
namespace {

struct Arguments {
  std::string image, out;
  std::string mode = "eval", family = "openai";
  int size = 224;
  TrainPosition train;
};

ExitCode run_preprocess(const Arguments& arguments) {
  const PreprocessOptions options = preprocess_family(arguments.family, arguments.size);
  const auto train = arguments.mode == "train" ? std::optional(arguments.train) : std::nullopt;
  const std::vector<float> pixels_CHW = preprocess_file(arguments.image, options, train);
  const std::array<std::int64_t, 3> shape = {3, options.height, options.width};
  write_npy(arguments.out, pixels_CHW, shape);
  std::cout << arguments.out << " float32 [3, " << options.height << ", " << options.width << "]\n";
  return ExitCode::done;
}

}  // namespace

void add_preprocess(CLI::App& app, CommandContext& context) {
  auto a = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("preprocess", "An image exactly as the model sees it");
  c->add_option("IMAGE", a->image, "JPEG, PNG or WebP")->required();
  c->add_option("--mode", a->mode, "eval or train")
      ->check(CLI::IsMember({"eval", "train"}))
      ->capture_default_str();
  c->add_option("--size", a->size, "Pixels a side")
      ->check(CLI::Range(1, 8192))
      ->capture_default_str();
  c->add_option("--seed", a->train.seed, "train: run.seed")->capture_default_str();
  c->add_option("--position", a->train.g, "train: the sample's position in the run's order")
      ->capture_default_str();
  c->add_option("--family", a->family, "openai, siglip, siglip2 or clipa")->capture_default_str();
  c->add_option("--out", a->out, "A .npy file: float32 CHW")->required();
  c->callback([a, &context] { context.action = [a] { return run_preprocess(*a); }; });
}

}  // namespace plumbline
