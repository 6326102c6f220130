#include "plan/print.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "plumbline/error.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

/// Three digits and a prefix: "1.23 G".
std::string scaled(double value) {
  constexpr std::array kPrefixes = {"", " k", " M", " G", " T", " P", " E"};
  std::size_t i = 0;
  while (std::abs(value) >= 999.5 && i + 1 < kPrefixes.size()) {
    value /= 1000;
    ++i;
  }
  const int digits = value >= 99.95 || value == std::floor(value) ? 0 : value >= 9.995 ? 1 : 2;
  return fixed(value, digits) + kPrefixes[i];
}

std::string gb(double bytes) { return fixed(bytes / 1e9, 2) + " GB"; }

std::string duration(double seconds) {
  if (seconds < 1) return fixed(1e3 * seconds, seconds < 0.01 ? 3 : 1) + " ms";
  if (seconds < 120) return fixed(seconds, 1) + " s";
  return seconds < 7200 ? fixed(seconds / 60, 1) + " min" : fixed(seconds / 3600, 1) + " h";
}

std::string row(const std::string& name, const std::string& value) {
  std::string line = "  " + name;
  line.resize(std::max<std::size_t>(line.size() + 1, 46), ' ');
  return line + value + "\n";
}

std::string model_lines(const PlanDocument& d) {
  const Plan& p = d.plan;
  const auto tower = [](const TowerCost& t) {
    std::string text = scaled(t.parameters) + " parameters, ";
    text += scaled(t.standard_flops) + "FLOP a forward pass";
    return t.trained ? text : text + ", not trained";
  };
  std::string text = "model " + d.model + "\n";
  text += row("image tower", tower(p.image));
  if (d.input.model.text) text += row("text tower", tower(p.text));
  text += row("other parameters", fixed(p.other_parameters, 0));
  text += row("all parameters", fixed(d.input.model.parameters(), 0));
  text += row("a sample, forward and backward", scaled(p.standard_flops) + "FLOP");
  text += row("  executed, with the exact cuts", scaled(p.executed_flops) + "FLOP");
  return text;
}

std::string memory_lines(const PlanDocument& d) {
  const Plan& p = d.plan;
  std::string text =
      str("memory of a rank, ", p.micro_batch, " of its ", p.rank_batch, " pairs a step at once\n");
  for (const PlanPart& part : p.memory) {
    text += row(part.name, gb(part.amount) + (part.where == "host" ? "  host" : ""));
  }
  if (d.input.device.gpu) text += row("device, together", gb(p.device_bytes));
  text += row("host, together", gb(p.host_bytes));
  text += row(d.input.device.gpu ? "the device has" : "this host has",
              gb(d.input.device.memory_bytes) + (p.fits ? "" : ": DOES NOT FIT"));
  return text;
}

std::string speed_lines(const PlanDocument& d) {
  const Plan& p = d.plan;
  const std::string each = d.input.device.gpu ? "GPU" : "rank";
  std::string text =
      str("a step of ", d.input.global_batch, " pairs on ", d.input.world, " ", each, "(s)",
          d.input.device.gpu ? ", modelled" : ", from rates measured on this host", "\n");
  for (const PlanPart& part : p.step) text += row(part.name, duration(part.amount));
  text += row("together", duration(p.step_s));
  text += row("pairs/s", scaled(p.samples_per_s));
  text += row("pairs/s of a " + each, scaled(p.samples_per_s_each));
  text += row("  roofline of the towers", scaled(p.ceiling_samples_per_s_each));
  if (d.input.device.gpu) text += row("MFU, standard FLOPs", fixed(100 * p.mfu, 1) + " %");
  text += row("efficiency against one rank", fixed(100 * p.efficiency, 1) + " %");
  return text;
}

std::string run_lines(const PlanDocument& d) {
  const Plan& p = d.plan;
  const std::string hours = d.input.device.gpu ? "GPU hours" : "rank hours";
  std::string text = str("the run: ", d.input.steps, " steps\n");
  text += row("time", duration(3600 * p.hours));
  text += row(hours, fixed(p.device_hours, 2));
  text += row("cost", p.cost ? fixed(*p.cost, 2) : "plan.gpu_hour_price is not given");
  text += row("checkpoint",
              gb(p.checkpoint_bytes) + ", stops training for " + duration(p.checkpoint_stall_s));
  text += row("  every (Young, Daly)", fixed(p.checkpoint_minutes, 1) + " min at " +
                                           fixed(p.job_mtbf_hours, 1) +
                                           " h between failures of the job");
  text += row("loader of a rank", fixed(p.loader_cores_each, 1) + " cores, " +
                                      scaled(p.loader_bytes_per_s_each) + "B/s");
  return text;
}

std::string scaling_lines(const PlanDocument& d) {
  std::string text = "scaling: pairs/s and efficiency, the same batch | the same rows a rank\n";
  for (const ScalingPoint& point : scaling_curve(d.input)) {
    const auto cell = [](const Plan& p) {
      return scaled(p.samples_per_s) + ", " + fixed(100 * p.efficiency, 1) + " %";
    };
    std::string line = point.fixed_possible ? cell(point.fixed) : "-";
    line.resize(std::max<std::size_t>(line.size() + 1, 20), ' ');
    text += row(str(point.world, " rank(s)"), line + "| " + cell(point.growing));
  }
  return text;
}

std::string data_lines(const PlanDocument& d) {
  std::string text = "data\n";
  for (const PlanSource& s : d.sources) {
    text += row(s.name, s.shards == 0 ? "no shards"
                                      : str(s.shards, " shards, ", s.indexed, " indexed, ",
                                            s.samples, " samples, ") +
                                            gb(static_cast<double>(s.bytes)));
  }
  return text;
}

Json parts(const std::vector<PlanPart>& list, const char* unit) {
  Json all = Json::array();
  for (const PlanPart& part : list) {
    Json item = {{"name", part.name}, {unit, part.amount}};
    if (!part.where.empty()) item["where"] = part.where;
    all.push_back(item);
  }
  return all;
}

Json speed_json(const Plan& p) {
  return {{"samples_per_s", p.samples_per_s},
          {"samples_per_s_each", p.samples_per_s_each},
          {"roofline_samples_per_s_each", p.ceiling_samples_per_s_each},
          {"mfu", p.mfu},
          {"efficiency", p.efficiency}};
}

Json scaling_json(const PlanInput& input) {
  Json list = Json::array();
  for (const ScalingPoint& point : scaling_curve(input)) {
    Json item = {{"world", point.world}, {"fixed_batch", nullptr}};
    if (point.fixed_possible) item["fixed_batch"] = speed_json(point.fixed);
    item["growing_batch"] = speed_json(point.growing);
    list.push_back(item);
  }
  return list;
}

Json data_json(const std::vector<PlanSource>& sources) {
  Json list = Json::array();
  for (const PlanSource& s : sources) {
    list.push_back({{"name", s.name},
                    {"shards", s.shards},
                    {"indexed", s.indexed},
                    {"samples", s.samples},
                    {"bytes", s.bytes}});
  }
  return list;
}

}  // namespace

std::vector<ScalingPoint> scaling_curve(const PlanInput& input) {
  const std::int64_t rows = (input.global_batch + input.world - 1) / input.world;
  std::vector<ScalingPoint> curve;
  for (int world = 1; world <= 1024; world *= 2) {
    PlanInput other = input;
    other.world = world;
    ScalingPoint point;
    point.world = world;
    point.fixed_possible = input.global_batch >= world;
    if (point.fixed_possible) point.fixed = make_plan(other);
    other.global_batch = rows * world;
    point.growing = make_plan(other);
    curve.push_back(point);
  }
  return curve;
}

std::string plan_json(const PlanDocument& d) {
  const Plan& p = d.plan;
  const PlanInput& in = d.input;
  const Json document = {
      {"config", d.config},
      {"model", d.model},
      {"device", in.device.name},
      {"modelled", in.device.gpu},
      {"world", in.world},
      {"global_batch", in.global_batch},
      {"rank_batch", p.rank_batch},
      {"micro_batch", p.micro_batch},
      {"steps", in.steps},
      {"parameters",
       {{"image", p.image.parameters},
        {"text", p.text.parameters},
        {"other", p.other_parameters},
        {"all", in.model.parameters()},
        {"trained", in.model.trained_parameters()}}},
      {"flops",
       {{"image_forward", p.image.standard_flops},
        {"text_forward", p.text.standard_flops},
        {"sample", p.standard_flops},
        {"sample_executed", p.executed_flops},
        {"run", p.standard_flops * static_cast<double>(in.steps * in.global_batch)}}},
      {"memory",
       {{"parts", parts(p.memory, "bytes")},
        {"device_bytes", p.device_bytes},
        {"host_bytes", p.host_bytes},
        {"limit_bytes", in.device.memory_bytes},
        {"fits", p.fits}}},
      {"step",
       {{"seconds", p.step_s},
        {"parts", parts(p.step, "seconds")},
        {"communication_s", p.communication_s}}},
      {"speed", speed_json(p)},
      {"run",
       {{"hours", p.hours},
        {"device_hours", p.device_hours},
        {"cost", p.cost ? Json(*p.cost) : Json(nullptr)}}},
      {"checkpoint",
       {{"bytes", p.checkpoint_bytes},
        {"stall_s", p.checkpoint_stall_s},
        {"job_mtbf_hours", p.job_mtbf_hours},
        {"every_minutes", p.checkpoint_minutes}}},
      {"loader",
       {{"cores_each", p.loader_cores_each}, {"bytes_per_s_each", p.loader_bytes_per_s_each}}},
      {"scaling", scaling_json(in)},
      {"data", data_json(d.sources)},
      {"notes", d.notes}};
  return document.dump(2) + "\n";
}

std::string plan_text(const PlanDocument& d) {
  std::string text = model_lines(d) + memory_lines(d) + speed_lines(d) + run_lines(d) +
                     scaling_lines(d) + data_lines(d);
  for (const std::string& note : d.notes) text += "note: " + note + "\n";
  return text;
}

}  // namespace plumbline
