// results.json, predictions/SET.csv, the table on the terminal.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "plumbline/error.h"
#include "plumbline/eval_suite.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json or_null(const std::optional<Interval>& interval) {
  return interval ? Json::array({interval->lo, interval->hi}) : Json(nullptr);
}

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json to_json(const SetResult& set) {
  const EvalSetOptions& o = set.options;
  Json json = {{"name", o.name},
               {"kind", o.kind},
               {"layout", o.layout},
               {"role", o.role},
               {"reference", or_null(o.reference)},
               {"n", set.n},
               {"classes", set.classes()},
               {"top1", or_null(set.top1)},
               {"top5", or_null(set.top5)},
               {"mean_per_class", or_null(set.mean_per_class)},
               {"ci95", or_null(set.ci95)},
               {"mean_per_class_ci95", or_null(set.mean_per_class_ci95)},
               {"seconds", set.seconds},
               {"images_per_s", set.seconds > 0
                                    ? Json(static_cast<double>(set.n + set.skipped) / set.seconds)
                                    : Json(nullptr)},
               {"skipped", set.skipped},
               {"path", o.path},
               {"templates", set.templates},
               {"class_list", or_null(o.classes)}};
  if (o.layout == "webdataset") json["split"] = o.split;
  if (o.layout == "imagenetv2") json["variant"] = o.variant;
  if (o.layout == "objectnet") {
    json["head"] = o.head;
    json["border_px"] = o.border_px;
  }
  json["class_names"] = set.class_names;
  json["class_n"] = set.class_n;
  json["class_correct"] = set.class_correct;
  return json;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string predictions_csv(const SetResult& set) {
  const auto places = static_cast<std::size_t>(std::min<std::int64_t>(kTopK, set.classes()));
  std::string text = "key,target";
  for (std::size_t i = 1; i <= places; ++i) text += ",pred" + std::to_string(i);
  text += '\n';
  for (const Prediction& p : set.predictions) {
    text += csv_cell(p.key) + ',' + std::to_string(p.target);
    for (std::size_t i = 0; i < places; ++i) text += ',' + std::to_string(p.ranked[i]);
    text += '\n';
  }
  return text;
}

std::string percent(const std::optional<double>& share) {
  if (!share) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", 100 * *share);
  return text;
}

std::string percent(const std::optional<Interval>& interval) {
  if (!interval) return "-";
  return str("[", percent(interval->lo), ", ", percent(interval->hi), "]");
}

}  // namespace

void write_results(const EvalResults& results, const std::string& dir) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::create_directories(fs::path(dir) / "predictions", error);
  if (error) throw Error(str("making the folder ", dir, "/predictions: ", error.message()));
  for (const SetResult& set : results.sets) {
    const fs::path path = fs::path(dir) / "predictions" / (set.options.name + ".csv");
    write_file_atomically(path.string(), predictions_csv(set));
  }
  Json json = {{"checkpoint", or_null(results.checkpoint)},
               {"step", or_null(results.step)},
               {"samples", or_null(results.samples)},
               {"model", or_null(results.model)},
               {"sets", Json::array()}};
  for (const SetResult& set : results.sets) json["sets"].push_back(to_json(set));
  // Written last: a folder with results.json is complete.
  write_file_atomically((fs::path(dir) / "results.json").string(),
                        json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string print_table(const EvalResults& results) {
  std::vector<std::vector<std::string>> rows = {
      {"set", "n", "classes", "top1 %", "95 %", "top5 %", "mean/class %", "95 %", "skipped"}};
  for (const SetResult& set : results.sets) {
    rows.push_back({set.options.name, std::to_string(set.n), std::to_string(set.classes()),
                    percent(set.top1), percent(set.ci95), percent(set.top5),
                    percent(set.mean_per_class), percent(set.mean_per_class_ci95),
                    std::to_string(set.skipped)});
  }
  std::vector<std::size_t> width(rows[0].size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    text += row[0] + std::string(width[0] - row[0].size(), ' ');
    for (std::size_t i = 1; i < row.size(); ++i) {
      text += "  " + std::string(width[i] - row[i].size(), ' ') + row[i];
    }
    text += '\n';
  }
  return text;
}

}  // namespace plumbline
