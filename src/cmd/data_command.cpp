// `plumbline data ...`: the shard tools and the order of a run.
#include <iostream>
#include <nlohmann/json.hpp>

#include "cmd/data_tools.h"
#include "data/check.h"
#include "data/pack.h"
#include "data/subset.h"
#include "plumbline/data.h"
#include "train/run_config.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

void add_pack(CLI::App& group, CommandContext& context) {
  auto options = std::make_shared<PackOptions>();
  auto json = std::make_shared<bool>(false);
  CLI::App* c = group.add_subcommand("pack", "A table of images and captions to shards");
  c->add_option("--manifest", options->manifest, "CSV, TSV or JSONL")->required();
  c->add_option("--root", options->root, "Folder that image paths are relative to")->required();
  c->add_option("--out", options->out, "Folder of the shards")->required();
  c->add_option("--samples-per-shard", options->samples_per_shard)->capture_default_str();
  c->add_option("--key-column", options->key_column)->capture_default_str();
  c->add_option("--image-column", options->image_column)->capture_default_str();
  c->add_option("--caption-columns", options->caption_columns, "The first non-empty cell")
      ->delimiter(',');
  c->add_option("--label-column", options->label_column)->capture_default_str();
  c->add_option("--header", options->format.header, "Column names of a file without header line")
      ->delimiter(',');
  c->add_option("--seed", options->seed, "Of the order")->capture_default_str();
  c->add_option("--where", options->where, "COLUMN=VALUE: other rows are passed over")
      ->take_all()
      ->allow_extra_args(false);
  c->add_flag("--skip-bad", options->skip_bad, "Leave bad rows out instead of stopping");
  c->add_option("--threads", options->threads, "0 = all cores");
  c->add_flag("--json", *json, "One JSON document on stdout");
  c->callback([options, json, &context] {
    context.action = [options, json] {
      ProgressLine line("packing");
      const PackReport report = pack(*options, line.callback());
      line.clear();
      Json bad = Json::array();
      for (const BadRow& row : report.bad) {
        bad.push_back(str(options->manifest, ":", row.line, ": ", row.message));
      }
      print({{"rows", report.rows},
             {"samples", report.samples},
             {"shards", report.written.shards},
             {"bytes", report.written.bytes},
             {"bad", bad}},
            *json);
      return ExitCode::done;
    };
  });
}

Json index_json(const IndexReport& report) {
  Json classes = Json::object();
  for (std::size_t i = 0; i < report.by_class.size(); ++i) {
    if (report.by_class[i] == 0) continue;
    classes[std::string(name_of(static_cast<BadSampleClass>(i)))] = report.by_class[i];
  }
  return {{"shards", report.shards},         {"samples", report.samples},
          {"usable", report.usable},         {"bad", classes},
          {"split_keys", report.split_keys}, {"damaged", report.damaged}};
}

void add_index(CLI::App& group, CommandContext& context) {
  auto a = std::make_shared<ShardArguments>();
  CLI::App* c = add_tool(group, "index", "Write the sidecar index of every shard", *a);
  c->callback([a, &context] {
    context.action = [a] {
      ProgressLine line("indexing");
      const IndexReport report =
          index_shards({a->source(), a->index_dir, a->allow_pipe, a->threads}, line.callback());
      line.clear();
      print(index_json(report), a->json);
      return report.damaged.empty() ? ExitCode::done : ExitCode::failed;
    };
  });
}

void add_check(CLI::App& group, CommandContext& context) {
  auto a = std::make_shared<ShardArguments>();
  auto options = std::make_shared<CheckOptions>();
  CLI::App* c = add_tool(group, "check", "Read everything; exit 1 when something is bad", *a);
  c->add_flag("--decode", options->decode, "Decode every pixel, not only headers");
  c->add_flag("--update", options->update, "Mark bad samples in the index");
  c->callback([a, options, &context] {
    context.action = [a, options] {
      options->source = a->source();
      options->index_dir = a->index_dir;
      options->allow_pipe = a->allow_pipe;
      options->threads = a->threads;
      ProgressLine line("checking");
      const CheckReport report = check_shards(*options, line.callback());
      line.clear();
      Json document = index_json(report);
      document["formats"] = {{"jpeg", report.jpeg}, {"png", report.png}, {"webp", report.webp}};
      document["image_bytes"] = report.image_bytes;
      document["pixels"] = report.pixels;
      document["messages"] = report.messages;
      document["size_mismatches"] = report.size_mismatches;
      print(document, a->json);
      return report.clean() ? ExitCode::done : ExitCode::failed;
    };
  });
}

void add_subset(CLI::App& group, CommandContext& context) {
  auto a = std::make_shared<ShardArguments>();
  auto options = std::make_shared<SubsetOptions>();
  CLI::App* c = add_tool(group, "subset", "Nested subsets by keyed hash", *a);
  c->add_option("--samples", options->samples, "How many")->required();
  c->add_option("--seed", options->seed)->capture_default_str();
  c->add_option("--where", options->where, "FIELD=VALUE of the json member")
      ->take_all()
      ->allow_extra_args(false);
  c->add_option("--identity", options->identity,
                "What is hashed: key, shard+key, sha256, json:FIELD")
      ->capture_default_str();
  c->add_option("--samples-per-shard", options->samples_per_shard)->capture_default_str();
  c->add_option("--out", options->out, "Folder of the shards")->required();
  c->callback([a, options, &context] {
    context.action = [a, options] {
      options->sources = {a->source()};
      options->index_dir = a->index_dir;
      options->allow_pipe = a->allow_pipe;
      options->threads = a->threads;
      ProgressLine line("writing");
      const SubsetReport report = subset(*options, line.callback());
      line.clear();
      print({{"samples", report.taken[0]},
             {"excluded", report.excluded},
             {"shards", report.written.shards},
             {"bytes", report.written.bytes}},
            a->json);
      return ExitCode::done;
    };
  });
}

struct OrderArguments {
  std::string config;
  std::vector<std::string> set;
  std::int64_t from = 0, steps = 1;
};

ExitCode run_order(const OrderArguments& arguments) {
  const RunConfig config = read_run(arguments.config, arguments.set);
  LoaderContext context;
  context.seed = config.run.seed;
  context.global_batch = config.train.global_batch;
  context.preprocess = config.preprocess;
  print_order(config.data, context, arguments.from, arguments.steps,
              [](std::int64_t step, const std::vector<Row>& rows) {
                Json keys = Json::array();
                for (const Row& row : rows) keys.push_back(row.key);
                std::cout << Json({{"step", step}, {"keys", keys}}).dump() << '\n';
              });
  return ExitCode::done;
}

void add_order(CLI::App& group, CommandContext& context) {
  auto arguments = std::make_shared<OrderArguments>();
  CLI::App* c = group.add_subcommand("order", "The keys of each global batch, as train uses them");
  c->add_option("CONFIG", arguments->config, "Run file (YAML)")->required();
  c->add_option("--from", arguments->from, "First step, from 0")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  c->add_option("--steps", arguments->steps)->check(CLI::NonNegativeNumber)->capture_default_str();
  c->add_option("--set", arguments->set, "Override one key: key.path=value")
      ->take_all()
      ->allow_extra_args(false);
  c->callback(
      [arguments, &context] { context.action = [arguments] { return run_order(*arguments); }; });
}

}  // namespace

void add_data(CLI::App& app, CommandContext& context) {
  CLI::App* group = app.add_subcommand("data", "Shard tools");
  group->require_subcommand(1);
  add_pack(*group, context);
  add_index(*group, context);
  add_check(*group, context);
  add_transcode(*group, context);
  add_subset(*group, context);
  add_match(*group, context);
  add_mix(*group, context);
  add_score(*group, context);
  add_filter(*group, context);
  add_audit(*group, context);
  add_order(*group, context);
}

}  // namespace plumbline
