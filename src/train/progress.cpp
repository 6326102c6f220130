#include "train/progress.h"

#include <nlohmann/json.hpp>

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const MovingStatistics& s) { return {{"mean", s.mean}, {"variance", s.variance}}; }

MovingStatistics statistics_from(const Json& j) { return {j.at("mean"), j.at("variance")}; }

Json to_json(const GuardState& guard) {
  Json rollbacks = Json::array();
  for (const Rollback& r : guard.rollbacks) {
    rollbacks.push_back({{"to", r.to}, {"at", r.at}, {"spike", r.why == Health::spike}});
  }
  return {{"counted", guard.counted},
          {"loss", to_json(guard.loss)},
          {"grad_norm", to_json(guard.grad_norm)},
          {"not_finite_in_a_row", guard.not_finite_in_a_row},
          {"spikes", guard.spikes},
          {"trouble_since", guard.trouble_since},
          {"rollbacks", rollbacks}};
}

GuardState guard_from(const Json& j) {
  GuardState guard;
  guard.counted = j.at("counted");
  guard.loss = statistics_from(j.at("loss"));
  guard.grad_norm = statistics_from(j.at("grad_norm"));
  guard.not_finite_in_a_row = j.at("not_finite_in_a_row");
  guard.spikes = j.at("spikes").get<std::vector<std::int64_t>>();
  guard.trouble_since = j.at("trouble_since");
  for (const Json& r : j.at("rollbacks")) {
    guard.rollbacks.push_back(
        {r.at("to"), r.at("at"), r.at("spike").get<bool>() ? Health::spike : Health::not_finite});
  }
  return guard;
}

}  // namespace

std::string progress_json(const RunProgress& p) {
  const Json j = {{"step", p.step},
                  {"samples", p.samples},
                  {"applied_steps", p.applied_steps},
                  {"skipped_steps", p.skipped_steps},
                  {"loader",
                   {{"position", p.loader.position},
                    {"epoch", p.loader.epoch},
                    {"fingerprint", p.loader.fingerprint},
                    {"seed", p.loader.seed},
                    {"lanes", p.loader.lanes}}},
                  {"guard", to_json(p.guard)}};
  return j.dump(2) + "\n";
}

RunProgress parse_progress(const std::string& text) {
  const Json j = Json::parse(text);
  RunProgress p;
  p.step = j.at("step");
  p.samples = j.at("samples");
  p.applied_steps = j.at("applied_steps");
  p.skipped_steps = j.at("skipped_steps");
  const Json& loader = j.at("loader");
  p.loader.position = loader.at("position");
  p.loader.epoch = loader.at("epoch");
  p.loader.fingerprint = loader.at("fingerprint");
  p.loader.seed = loader.at("seed");
  p.loader.lanes = loader.at("lanes");
  if (j.contains("guard")) p.guard = guard_from(j["guard"]);
  return p;
}

}  // namespace plumbline
