// `plumbline data mix|match|filter|transcode`.
#include "cmd/data_tools.h"
#include "data/select.h"
#include "data/subset.h"
#include "data/transcode.h"
#include "train/run_config.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

/// The file of `data mix`.
SubsetOptions read_mix(const std::string& path) {
  const ConfigNode root = ConfigNode::read(path);
  SubsetOptions mix;
  const auto reader = option_reader(root);
  OptionVisitor& v = *reader;
  v.value("samples", mix.samples, {1, 1e15}, "in all");
  v.value("seed", mix.seed, "of the hash");
  v.text("identity", mix.identity, "what is hashed: key, shard+key, sha256 or json:FIELD");
  v.value("samples_per_shard", mix.samples_per_shard, {1, 1e9}, "");
  v.list(
      "sources", mix.sources.size(), "as in a run file",
      [&](std::size_t n) { mix.sources.resize(n); },
      [&](OptionVisitor& s, std::size_t i) { describe_source(s, mix.sources[i]); });
  v.check(!mix.sources.empty(), "sources", "is required: at least one source");
  root.reject_unknown();
  return mix;
}

struct MixArguments {
  std::string spec, out, index_dir;
  bool allow_pipe = false;
  int threads = 0;
  bool json = false;
};

ExitCode run_mix(const MixArguments& a) {
  SubsetOptions mix = read_mix(a.spec);
  mix.out = a.out;
  mix.index_dir = a.index_dir;
  mix.allow_pipe = a.allow_pipe;
  mix.threads = a.threads;
  ProgressLine line("writing");
  const SubsetReport report = subset(mix, line.callback());
  line.clear();
  Json taken = Json::object();
  for (std::size_t i = 0; i < mix.sources.size(); ++i) {
    taken[mix.sources[i].name] = report.taken[i];
  }
  print({{"taken", taken},
         {"excluded", report.excluded},
         {"shards", report.written.shards},
         {"bytes", report.written.bytes}},
        a.json);
  return ExitCode::done;
}

ExitCode run_match(const ShardArguments& a, MatchOptions& options) {
  static_cast<ToolInput&>(options) = a.input();
  ProgressLine line("matching");
  const MatchReport report = match_captions(options, line.callback());
  line.clear();
  const auto empty = std::count(report.per_class.begin(), report.per_class.end(), 0);
  const auto largest = std::max_element(report.per_class.begin(), report.per_class.end());
  print({{"samples", report.samples},
         {"matched", report.matched},
         {"several_classes", report.several},
         {"rows", report.rows},
         {"classes", report.per_class.size()},
         {"empty_classes", empty},
         {"largest_class", *largest},
         {"shards", report.written.shards},
         {"bytes", report.written.bytes}},
        a.json);
  return ExitCode::done;
}

ExitCode run_filter(const ShardArguments& a, FilterOptions& options) {
  static_cast<ToolInput&>(options) = a.input();
  ProgressLine line("filtering");
  const FilterReport report = filter_by_score(options, line.callback());
  line.clear();
  print({{"samples", report.samples},
         {"unscored", report.unscored},
         {"kept", report.kept},
         {"lowest_score", report.lowest},
         {"shards", report.written.shards},
         {"bytes", report.written.bytes}},
        a.json);
  return ExitCode::done;
}

ExitCode run_transcode(const ShardArguments& a, TranscodeOptions& options) {
  static_cast<ToolInput&>(options) = a.input();
  ProgressLine line("transcoding shards");
  const TranscodeReport report = transcode(options, line.callback());
  line.clear();
  print({{"shards", report.shards},
         {"finished_before", report.finished_before},
         {"samples", report.samples},
         {"recoded", report.recoded},
         {"resized", report.resized},
         {"kept", report.kept},
         {"image_bytes_before", report.bytes_before},
         {"image_bytes_after", report.bytes_after},
         {"messages", report.messages},
         {"damaged", report.damaged}},
        a.json);
  return report.damaged.empty() && report.messages.empty() ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_mix(CLI::App& group, CommandContext& context) {
  auto a = std::make_shared<MixArguments>();
  CLI::App* c = group.add_subcommand("mix", "A mixture of sources at a fixed total");
  c->add_option("SPEC", a->spec, "YAML: samples, seed, sources with weights")->required();
  c->add_option("--out", a->out, "Folder of the shards")->required();
  c->add_option("--index-dir", a->index_dir, "Folder of the sidecar indexes");
  c->add_flag("--allow-pipe", a->allow_pipe, "Shards may be pipe: commands");
  c->add_option("--threads", a->threads, "0 = all cores");
  c->add_flag("--json", a->json, "One JSON document on stdout");
  c->callback([a, &context] { context.action = [a] { return run_mix(*a); }; });
}

void add_match(CLI::App& group, CommandContext& context) {
  auto a = std::make_shared<ShardArguments>();
  auto options = std::make_shared<MatchOptions>();
  auto letters = std::make_shared<std::string>("exact");
  auto boundary = std::make_shared<std::string>("word");
  auto overlap = std::make_shared<std::string>("longest");
  CLI::App* c = add_tool(group, "match", "Labels from class names found in captions", *a);
  c->add_option("--names", options->names, "Line i = class i, alternatives divided by tabs")
      ->required();
  c->add_option("--out", options->out, "Folder of the shards")->required();
  c->add_option("--case", *letters)->check(CLI::IsMember({"exact", "fold"}))->capture_default_str();
  c->add_option("--boundary", *boundary)
      ->check(CLI::IsMember({"word", "raw"}))
      ->capture_default_str();
  c->add_option("--multi", options->multi, "Captions of several classes")
      ->check(CLI::IsMember({"drop", "first", "rows", "multi-hot"}))
      ->capture_default_str();
  c->add_option("--overlap", *overlap)
      ->check(CLI::IsMember({"longest", "all"}))
      ->capture_default_str();
  c->add_option("--samples-per-shard", options->samples_per_shard)->capture_default_str();
  c->callback([=, &context] {
    options->phrases = {*letters == "fold", *boundary == "word", *overlap == "longest"};
    context.action = [a, options] { return run_match(*a, *options); };
  });
}

void add_filter(CLI::App& group, CommandContext& context) {
  auto a = std::make_shared<ShardArguments>();
  auto options = std::make_shared<FilterOptions>();
  CLI::App* c = add_tool(group, "filter", "The samples with the highest scores", *a);
  c->add_option("--scores", options->scores, "CSV with the columns key and score")->required();
  c->add_option("--keep-top", options->keep_top, "Share of the samples with a score");
  c->add_option("--min", options->min, "Lowest score to keep");
  c->add_option("--out", options->out, "Folder of the shards")->required();
  c->add_option("--samples-per-shard", options->samples_per_shard)->capture_default_str();
  c->callback([a, options, &context] {
    context.action = [a, options] { return run_filter(*a, *options); };
  });
}

void add_transcode(CLI::App& group, CommandContext& context) {
  auto a = std::make_shared<ShardArguments>();
  auto options = std::make_shared<TranscodeOptions>();
  CLI::App* c = add_tool(group, "transcode", "Images that decode faster: baseline, smaller", *a);
  c->add_option("--out", options->out, "Folder of the shards")->required();
  c->add_option("--resize", options->resize, "Short side; 0 = pixels stay as they are")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  c->add_option("--quality", options->quality, "JPEG quality of resized images")
      ->capture_default_str();
  c->add_flag("--verify", options->verify, "Decode both and compare");
  c->callback([a, options, &context] {
    context.action = [a, options] { return run_transcode(*a, *options); };
  });
}

}  // namespace plumbline
