// metrics.jsonl to columns of at most kCurvePoints values.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/file.h"
#include "plumbline/error.h"
#include "report/run_files.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;
using Column = std::vector<std::optional<double>>;

constexpr const char* kColumns[] = {
    "step",       "samples", "epoch",         "loss",           "logit_scale",    "lr",
    "grad_norm",  "step_ms", "samples_per_s", "data_wait_frac", "comm_wait_frac", "mfu",
    "bad_samples"};

Column mean_of_groups(const Column& values, std::size_t group) {
  Column means;
  for (std::size_t from = 0; from < values.size(); from += group) {
    double sum = 0, count = 0;
    for (std::size_t i = from; i < std::min(from + group, values.size()); ++i) {
      if (!values[i]) continue;
      sum += *values[i];
      count += 1;
    }
    means.push_back(count > 0 ? std::optional(sum / count) : std::nullopt);
  }
  return means;
}

}  // namespace

Curves read_curves(const std::string& path, std::vector<std::string>& notes) {
  Curves curves;
  for (const char* name : kColumns) curves.columns.emplace_back(name, Column());
  std::istringstream text(read_file(path));
  std::int64_t number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (line.empty()) continue;
    const Json json = Json::parse(line, nullptr, false);
    const auto step = json.is_object() ? json.find("step") : json.end();
    if (!json.is_object() || step == json.end() || !step->is_number()) {
      notes.push_back(str(path, ":", number, ": left out, no complete JSON object with a step",
                          text.peek() == EOF ? " (the last line: a write was cut short)" : ""));
      continue;
    }
    ++curves.lines;
    for (auto& [name, values] : curves.columns) {
      const auto found = json.find(name);
      const bool known = found != json.end() && found->is_number();
      values.push_back(known ? std::optional(found->get<double>()) : std::nullopt);
    }
  }
  if (curves.lines > kCurvePoints) {
    curves.lines_per_point = (curves.lines + kCurvePoints - 1) / kCurvePoints;
    for (auto& [name, values] : curves.columns) {
      values = mean_of_groups(values, static_cast<std::size_t>(curves.lines_per_point));
    }
  }
  return curves;
}

}  // namespace plumbline
