// `plumbline data audit`.
#include "cmd/data_tools.h"
#include "data/audit.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

Json spread_json(const Spread& s) {
  return {{"least", s.least}, {"p10", s.p10}, {"p50", s.p50},  {"mean", s.mean},
          {"p90", s.p90},     {"p99", s.p99}, {"most", s.most}};
}

ExitCode run_audit(const ShardArguments& a) {
  const auto tokenizer = make_tokenizer({});
  AuditOptions options;
  static_cast<ToolInput&>(options) = a.input();
  options.tokenizer = tokenizer.get();
  ProgressLine line("auditing");
  const AuditReport r = audit(options, line.callback());
  line.clear();
  Json bad = Json::object(), scripts = Json::object();
  for (std::size_t c = 0; c < r.bad.size(); ++c) {
    if (r.bad[c] > 0) bad[std::string(name_of(static_cast<BadSampleClass>(c)))] = r.bad[c];
  }
  for (std::size_t s = 0; s < r.scripts.size(); ++s) scripts[kScripts[s]] = r.scripts[s];
  print({{"samples", r.samples},
         {"bad", bad},
         {"repeated_keys", r.repeated_keys},
         {"repeated_images", r.repeated_images},
         {"repeated_captions", r.repeated_captions},
         {"formats", {{"jpeg", r.jpeg}, {"png", r.png}, {"webp", r.webp}}},
         {"progressive", r.progressive},
         {"image_bytes", spread_json(r.image_bytes)},
         {"short_side", spread_json(r.short_side)},
         {"aspect", spread_json(r.aspect)},
         {"fixed_crops", r.fixed_crops},
         {"short_captions", r.short_captions},
         {"caption_characters", spread_json(r.caption_characters)},
         {"caption_tokens", spread_json(r.caption_tokens)},
         {"truncated", r.truncated},
         {"scripts", scripts},
         {"images_per_s_core", r.images_per_s_core}},
        a.json);
  return ExitCode::done;
}

}  // namespace

void add_audit(CLI::App& group, CommandContext& context) {
  auto a = std::make_shared<ShardArguments>();
  CLI::App* c = add_tool(group, "audit", "What the images and captions are like", *a);
  c->callback([a, &context] { context.action = [a] { return run_audit(*a); }; });
}

}  // namespace plumbline
