// `plumbline plan CONFIG`: what a run would take, without starting it.
#include <algorithm>
#include <iostream>

#include "cmd/command.h"
#include "cmd/plan_host.h"
#include "data/survey.h"
#include "plan/print.h"
#include "train/peak_flops.h"
#include "train/plan_input.h"

namespace plumbline {
namespace {

constexpr double kBytesPerToken = 4.3;  // of English captions under CLIP's vocabulary

struct Arguments {
  std::string config;
  std::vector<std::string> set;
  std::string device;
  int world = 1;
  bool json = false;
};

/// The one that was asked for, else this host's GPU, else its cores.
std::string choose_device(const Arguments& arguments, const RunConfig& config) {
  if (!arguments.device.empty()) return arguments.device;
  std::string model = host_gpu_model();
  std::transform(model.begin(), model.end(), model.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (config.train.device == "cpu" || model.empty()) return "cpu";
  for (const std::string& name : gpu_names()) {
    if (model.find(name) != std::string::npos) return name;
  }
  throw UsageError(str("no figures for this host's '", model, "'; give --device"));
}

PlanDevice describe_device(const Arguments& arguments, const RunConfig& config) {
  const std::string name = choose_device(arguments, config);
  if (name != "cpu") return find_gpu(name, config.train.precision == "bf16");
  const int here = std::min(arguments.world, config.plan.gpus_per_node);
  return measure_host(model_shape(config), here, config.train.threads);
}

struct DataFacts {
  std::vector<PlanSource> sources;
  std::int64_t samples = 0;
  double sample_bytes = 0, caption_bytes = 0;
  bool complete = true;  ///< every sample is counted
};

DataFacts look_at_data(const RunConfig& config, std::vector<std::string>& notes) {
  DataFacts facts;
  double bytes = 0, counted = 0, weighted_captions = 0, captioned = 0;
  for (const SourceSurvey& s : survey_sources(config.data)) {
    facts.sources.push_back({s.name, s.shards, s.indexed, s.samples, s.bytes});
    facts.samples += s.samples;
    const auto samples = static_cast<double>(s.samples);
    if (s.shards > 0) {
      bytes += static_cast<double>(s.bytes);
      counted += samples;
    }
    if (s.caption_bytes > 0) {
      weighted_captions += samples * s.caption_bytes;
      captioned += samples;
    }
    if (s.indexed < s.shards) {
      notes.push_back(str(s.name, ": ", s.shards - s.indexed, " of ", s.shards,
                          " shards have no index yet; training makes them, `plumbline data index` "
                          "does it before"));
    }
    facts.complete = facts.complete && s.indexed == s.shards && s.samples > 0;
  }
  if (counted > 0) facts.sample_bytes = bytes / counted;
  if (captioned > 0) facts.caption_bytes = weighted_captions / captioned;
  return facts;
}

void note_assumptions(const PlanDocument& d, const RunConfig& config,
                      std::vector<std::string>& notes) {
  if (d.input.device.gpu) {
    notes.emplace_back("figures for GPUs are modelled from datasheets, nothing was run");
    if (config.train.precision == "fp32") {
      notes.emplace_back("train.precision is fp32: tensor cores are not used; bf16 is faster");
    }
  }
  if (!d.plan.fits) notes.emplace_back("memory: it does not fit; lower train.micro_batch");
  const double minutes = config.checkpoint.every_minutes;
  if (config.checkpoint.every_steps == 0 && minutes > 2 * d.plan.checkpoint_minutes) {
    notes.push_back(str("checkpoint.every_minutes is ", minutes,
                        ": the time lost to failures would be less with fewer"));
  }
}

PlanDocument make_document(const Arguments& arguments) {
  const RunConfig config = read_run(arguments.config, arguments.set);
  if (arguments.world > config.train.global_batch) {
    throw UsageError(str("--world ", arguments.world, ": train.global_batch ",
                         config.train.global_batch, " has fewer pairs than ranks"));
  }
  PlanDocument document;
  document.config = arguments.config;
  document.model = config.resolved_model.name;
  const DataFacts facts = look_at_data(config, document.notes);
  document.sources = facts.sources;
  if (config.train.epochs > 0 && !facts.complete) {
    document.notes.emplace_back(
        "train.epochs: not every sample is counted, so steps, hours and cost are too low");
  }
  document.input =
      plan_input(config, arguments.world, describe_device(arguments, config), facts.samples);
  document.input.sample_bytes = facts.sample_bytes;
  if (config.plan.caption_tokens == 0 && facts.caption_bytes > 0) {
    document.input.caption_tokens = 2 + facts.caption_bytes / kBytesPerToken;
  }
  document.plan = make_plan(document.input);
  note_assumptions(document, config, document.notes);
  return document;
}

ExitCode run_plan(const Arguments& arguments) {
  const PlanDocument document = make_document(arguments);
  std::cout << (arguments.json ? plan_json(document) : plan_text(document));
  return document.plan.fits ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_plan(CLI::App& app, CommandContext& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("plan", "What a run would take; starts nothing");
  command->add_option("CONFIG", arguments->config, "Run file (YAML)")->required();
  command->add_option("--set", arguments->set, "Override one key: key.path=value")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--world", arguments->world, "Ranks")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  std::vector<std::string> devices = gpu_names();
  devices.emplace_back("cpu");
  command
      ->add_option("--device", arguments->device, "h100, h200, a100 or cpu; default: this host's")
      ->check(CLI::IsMember(devices));
  command->add_flag("--json", arguments->json, "One JSON document on stdout");
  command->callback(
      [arguments, &context] { context.action = [arguments] { return run_plan(*arguments); }; });
}

}  // namespace plumbline
