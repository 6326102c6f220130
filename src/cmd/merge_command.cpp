#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cmd/command.h"
#include "core/file.h"
#include "dist/agree.h"
#include "log/log.h"
#include "ops/device.h"
#include "plumbline/eval.h"
#include "train/merge.h"
#include "train/run_config.h"
#include "train/trained_model.h"
#include "train/zero_shot_head.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Arguments {
  std::string a, b, alpha = "0.5";
  std::vector<std::string> inputs;
  std::string suite, out;
};

/// Other checkpoints below --out would be taken for outputs of this merge.
void check_out(const std::string& out) {
  check_output_folder("--out", out);
  std::error_code error;
  if (fs::exists(out) && !fs::is_empty(out, error)) {
    throw UsageError(str("--out ", out, ": exists and is not an empty folder"));
  }
}

/// The weights that evaluation takes: averaged ones where the run kept an average, unless PATH
/// names the others.
Checkpoint read_input(const std::string& path) {
  Checkpoint checkpoint = read_checkpoint(resolve_checkpoint(path), false);
  const bool raw = fs::path(path).filename() == "model.safetensors";
  if (!checkpoint.ema.empty() && !raw) checkpoint.model = std::move(checkpoint.ema);
  checkpoint.ema.clear();
  return checkpoint;
}

/// The checkpoint at `path`, made a classifier of the classes of `like` where that is one and it is
/// not: WiSE-FT mixes a fine-tuned classifier with what the model before did zero-shot.
Checkpoint read_as(const std::string& path, const Checkpoint& like, const std::string& like_path) {
  Checkpoint checkpoint = read_input(path);
  const ModelOptions classifier = parse_model(like.model_json, like_path);
  if (classifier.class_names.empty() ||
      !parse_model(checkpoint.model_json, path).class_names.empty()) {
    return checkpoint;
  }
  TrainedModel clip = open_checkpoint(path);
  const RunConfig run = parse_run(like.config_yaml, like_path);
  const auto alone = make_single_communicator();
  checkpoint.model = zero_shot_classifier(
      clip, classifier, class_prompts(classifier.class_names, run.model.init_templates, ""), *alone,
      at::kCPU);
  checkpoint.model_json = like.model_json;
  checkpoint.config_yaml = like.config_yaml;
  return checkpoint;
}

Json describe_inputs(const std::vector<std::string>& paths) {
  Json list = Json::array();
  for (const std::string& path : paths) list.push_back({{"checkpoint", resolve_checkpoint(path)}});
  return list;
}

/// `like` with other weights: its model, run file and progress; nothing of an optimizer.
std::string write_merged(const std::string& dir, Checkpoint like, NamedTensors model) {
  like.model = std::move(model);
  write_checkpoint(dir, like);
  return dir + "/" + checkpoint_name(like.progress.step);
}

/// DIR/merge.json: how the checkpoint in DIR, or those in the folders below, were made.
void write_merge_json(const std::string& dir, const Json& json) {
  write_file_atomically(dir + "/" + kMergeFile,
                        json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

Json output_entry(const std::string& dir, const std::string& folder) {
  return {{"checkpoint", fs::path(folder).lexically_relative(dir).string()}};
}

void merge_interpolate(const Arguments& arguments) {
  const std::vector<double> alphas = parse_alphas(arguments.alpha);
  check_out(arguments.out);
  const Checkpoint second = read_input(arguments.b);
  Checkpoint first = read_as(arguments.a, second, arguments.b);
  check_mergeable(first, arguments.a, second, arguments.b);
  const NamedTensors theta0 = std::move(first.model);
  Json json = {{"merge", "interpolate"},
               {"inputs", describe_inputs({arguments.a, arguments.b})},
               {"outputs", Json::array()}};
  for (const double alpha : alphas) {
    const bool range = alphas.size() > 1;
    const std::string dir = range ? arguments.out + "/" + alpha_name(alpha) : arguments.out;
    const std::string folder = write_merged(dir, first, interpolate(theta0, second.model, alpha));
    Json entry = output_entry(dir, folder);
    entry["alpha"] = alpha;
    Json own = json;
    own["outputs"] = Json::array({entry});
    write_merge_json(dir, own);
    if (range) entry["checkpoint"] = output_entry(arguments.out, folder)["checkpoint"];
    json["outputs"].push_back(entry);
    std::cout << folder << "  alpha " << alpha << std::endl;
  }
  write_merge_json(arguments.out, json);
}

void merge_uniform(const Arguments& arguments) {
  check_out(arguments.out);
  Checkpoint first = read_input(arguments.inputs[0]);
  RunningMean mean;
  mean.add(first.model);
  for (std::size_t i = 1; i < arguments.inputs.size(); ++i) {
    const Checkpoint next = read_input(arguments.inputs[i]);
    check_mergeable(first, arguments.inputs[0], next, arguments.inputs[i]);
    mean.add(next.model);
  }
  const std::string folder = write_merged(arguments.out, std::move(first), mean.mean());
  write_merge_json(arguments.out,
                   {{"merge", "uniform"},
                    {"inputs", describe_inputs(arguments.inputs)},
                    {"outputs", Json::array({output_entry(arguments.out, folder)})}});
  std::cout << folder << "  mean of " << mean.size() << '\n';
}

/// Every input against the first, before hours of evaluation.
void check_inputs(const std::vector<std::string>& paths) {
  const Checkpoint first = read_input(paths[0]);
  for (std::size_t i = 1; i < paths.size(); ++i) {
    check_mergeable(first, paths[0], read_input(paths[i]), paths[i]);
  }
}

/// The suite's sets that a choice may look at: those of role reference, and no other.
EvalSuite held_out_suite(const std::string& path) {
  EvalSuite suite = read_suite(path);
  std::erase_if(suite.sets, [](const EvalSetOptions& set) { return set.role != "reference"; });
  if (suite.sets.empty()) {
    throw UsageError(str(path,
                         ": has no set of role reference, and a soup must not be chosen by "
                         "its shift sets"));
  }
  for (const EvalSetOptions& set : suite.sets) {
    if (!set.reference.empty()) {
      throw UsageError(str(set.where, "is called a reference but names the reference '",
                           set.reference, "': it is a shift, which must not choose a soup"));
    }
    if (set.kind != "classification") {
      throw UsageError(str(set.where, "is of the kind ", set.kind,
                           ": a soup is chosen by accuracy of classification"));
    }
  }
  check_paths(suite);
  return suite;
}

/// Plain mean of top1 over the sets. Collective.
double held_out_accuracy(const EvalSuite& suite, EvalContext& context) {
  const EvalResults results = evaluate(suite, context);
  double sum = 0;
  for (const SetResult& set : results.sets) {
    if (!set.top1) throw AgreedError(str("set ", set.options.name, " has no accuracy"));
    sum += *set.top1;
  }
  return sum / static_cast<double>(results.sets.size());
}

Json describe_soup(const GreedySoup& soup, const EvalSuite& suite,
                   const std::vector<std::string>& paths) {
  Json inputs = describe_inputs(paths);
  for (std::size_t i = 0; i < paths.size(); ++i) inputs[i]["held_out"] = soup.held_out[i];
  Json steps = Json::array();
  for (const SoupStep& step : soup.steps) {
    steps.push_back({{"input", step.model}, {"held_out", step.held_out}, {"kept", step.kept}});
  }
  Json sets = Json::array();
  for (const EvalSetOptions& set : suite.sets) sets.push_back(set.name);
  return {{"merge", "greedy"},       {"suite", suite.path}, {"held_out_sets", sets},
          {"inputs", inputs},        {"steps", steps},      {"held_out", soup.accuracy},
          {"outputs", Json::array()}};
}

void write_soup(const Arguments& arguments, const EvalSuite& suite, const GreedySoup& soup) {
  const std::string folder =
      write_merged(arguments.out, read_input(arguments.inputs[0]), soup.model);
  Json json = describe_soup(soup, suite, arguments.inputs);
  Json entry = output_entry(arguments.out, folder);
  entry["held_out"] = soup.accuracy;
  json["outputs"].push_back(entry);
  write_merge_json(arguments.out, json);
  for (const SoupStep& step : soup.steps) {
    std::cout << (step.kept ? "kept  " : "left  ") << 100 * step.held_out << " %  "
              << arguments.inputs[step.model] << '\n';
  }
  std::cout << folder << "  held-out accuracy " << 100 * soup.accuracy << " %\n";
}

ExitCode merge_greedy(const Arguments& arguments, const CommandContext& context) {
  const auto host = make_host_communicator(context.mpi);
  const Log log("", host->rank() == 0);
  EvalSuite suite;
  TrainedModel trained;
  at::Device device = at::kCPU;
  agree(*host, [&] {
    suite = held_out_suite(arguments.suite);
    check_out(arguments.out);
    check_inputs(arguments.inputs);
    trained = open_checkpoint(arguments.inputs[0]);
    device = pick_device("auto", host->local_rank());
    trained.model->to(device);
  });
  EvalContext eval{*trained.model, *trained.tokenizer, trained.preprocess, *host, device};
  eval.progress = [&](const std::string& set, std::int64_t done, std::int64_t total) {
    if (log.is_terminal()) log.progress(str(set, "  ", done, "/", total, " images a rank"));
  };
  const auto read = [&](std::size_t place) {
    NamedTensors model;
    agree(*host, [&] { model = read_input(arguments.inputs[place]).model; });
    return model;
  };
  const GreedySoup soup =
      greedy_soup(arguments.inputs.size(), read, [&](const NamedTensors& model) {
        agree(*host, [&] { (void)load_state_dict(*trained.model, model, "the soup"); });
        return held_out_accuracy(suite, eval);
      });
  log.progress("");
  agree(*host, [&] {
    if (host->rank() == 0) write_soup(arguments, suite, soup);
  });
  return ExitCode::done;
}

/// One rank works, the others wait for its success.
ExitCode on_one_rank(const CommandContext& context, const std::function<void()>& work) {
  const auto host = make_host_communicator(context.mpi);
  agree(*host, [&] {
    if (host->rank() == 0) work();
  });
  return ExitCode::done;
}

CLI::App* add_one(CLI::App& group, const std::string& name, const std::string& help,
                  const std::shared_ptr<Arguments>& arguments) {
  CLI::App* command = group.add_subcommand(name, help);
  command->add_option("--out", arguments->out, "Folder to write: new or empty")->required();
  return command;
}

}  // namespace

void add_merge(CLI::App& app, CommandContext& context) {
  CLI::App* group = app.add_subcommand("merge", "Checkpoints merged in the space of their weights");
  group->require_subcommand(1);
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      add_one(*group, "interpolate", "Between two checkpoints (WiSE-FT)", arguments);
  command->add_option("A", arguments->a, "Checkpoint of alpha 0")->required();
  command->add_option("B", arguments->b, "Checkpoint of alpha 1")->required();
  command->add_option("--alpha", arguments->alpha, "Share of B, or a range first:last:step");
  command->callback([arguments, &context] {
    context.action = [arguments, &context] {
      return on_one_rank(context, [&] { merge_interpolate(*arguments); });
    };
  });
  command = add_one(*group, "uniform", "Mean of checkpoints (model soup)", arguments);
  command->add_option("C", arguments->inputs, "Checkpoints")->required();
  command->callback([arguments, &context] {
    context.action = [arguments, &context] {
      return on_one_rank(context, [&] { merge_uniform(*arguments); });
    };
  });
  command = add_one(*group, "greedy", "Mean of the checkpoints that help each other", arguments);
  command->add_option("C", arguments->inputs, "Checkpoints")->required();
  command->add_option("--suite", arguments->suite, "Its sets of role reference decide (YAML)")
      ->required();
  command->callback([arguments, &context] {
    context.action = [arguments, &context] { return merge_greedy(*arguments, context); };
  });
}

}  // namespace plumbline
