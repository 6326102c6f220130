// results.json to Evaluation.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "plumbline/error.h"
#include "report/run_files.h"

namespace plumbline {
namespace {

using Json = nlohmann::json;

template <typename T>
std::optional<T> optional_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::nullopt;
  return found->get<T>();
}

std::string text_at(const Json& json, const char* key) {
  return optional_at<std::string>(json, key).value_or("");
}

std::optional<Interval> interval_at(const Json& json, const char* key) {
  const auto pair = optional_at<std::vector<double>>(json, key);
  if (!pair) return std::nullopt;
  if (pair->size() != 2) throw DataError(str("'", key, "' is no pair [lo, hi]"));
  return Interval{(*pair)[0], (*pair)[1]};
}

// Of results.json, in the order of the page.
constexpr const char* kOtherMeasures[] = {
    "macro_f1",       "worst_region",          "worst_year",    "image_recall@1",
    "image_recall@5", "image_recall@10",       "text_recall@1", "text_recall@5",
    "text_recall@10", "mean_average_precision"};

void check_share(const std::optional<double>& share, const SetAccuracy& set, const char* key) {
  if (share && !(*share >= 0 && *share <= 1)) {
    throw DataError(str("set '", set.name, "' has ", key, " = ", *share, ", which is no fraction"));
  }
}

/// Results of other writers may lack what follows from the rest.
void fill_intervals(SetAccuracy& set) {
  if (!set.ci95 && set.top1 && set.n > 0) {
    const auto n = static_cast<double>(set.n);
    set.ci95 = clopper_pearson(*set.top1 * n, n);
  }
  if (!set.mean_per_class_ci95 && set.mean_per_class && !set.class_n.empty()) {
    set.mean_per_class_ci95 = mean_recall_interval(set.class_correct, set.class_n);
  }
  if (set.top1 && set.n > 0) {
    const auto n = static_cast<double>(set.n);
    set.ci995 = clopper_pearson(*set.top1 * n, n, kPlotAlpha);
  }
  if (set.mean_per_class && !set.class_n.empty()) {
    set.mean_per_class_ci995 = mean_recall_interval(set.class_correct, set.class_n, kPlotAlpha);
  }
}

SetAccuracy read_set(const Json& json) {
  SetAccuracy set;
  set.name = json.at("name").get<std::string>();
  set.kind = text_at(json, "kind");
  set.layout = text_at(json, "layout");
  set.role = text_at(json, "role");
  set.reference = text_at(json, "reference");
  set.path = text_at(json, "path");
  set.split = text_at(json, "split");
  set.variant = text_at(json, "variant");
  set.head = text_at(json, "head");
  set.templates = text_at(json, "templates");
  set.class_list = text_at(json, "class_list");
  set.border_px = optional_at<std::int64_t>(json, "border_px");
  set.n = json.at("n").get<std::int64_t>();
  set.classes = optional_at<std::int64_t>(json, "classes").value_or(0);
  set.skipped = optional_at<std::int64_t>(json, "skipped").value_or(0);
  set.top1 = optional_at<double>(json, "top1");
  set.top5 = optional_at<double>(json, "top5");
  set.mean_per_class = optional_at<double>(json, "mean_per_class");
  check_share(set.top1, set, "top1");
  check_share(set.mean_per_class, set, "mean_per_class");
  set.ci95 = interval_at(json, "ci95");
  set.mean_per_class_ci95 = interval_at(json, "mean_per_class_ci95");
  set.class_names = json.value("class_names", set.class_names);
  set.class_n = json.value("class_n", set.class_n);
  set.class_correct = json.value("class_correct", set.class_correct);
  const std::size_t classes = set.class_n.size();
  if (set.class_correct.size() != classes || (classes > 0 && set.class_names.size() != classes)) {
    throw DataError(str("set '", set.name, "' has class lists of different lengths"));
  }
  for (const char* key : kOtherMeasures) {
    const auto value = optional_at<double>(json, key);
    check_share(value, set, key);
    if (value) set.others.emplace_back(key, *value);
  }
  fill_intervals(set);
  return set;
}

MergedFrom read_merge(const Json& json) {
  return {json.at("kind").get<std::string>(), json.at("inputs").get<std::vector<std::string>>(),
          optional_at<double>(json, "alpha")};
}

}  // namespace

const SetAccuracy* Evaluation::find(const std::string& name) const {
  for (const SetAccuracy& set : sets) {
    if (set.name == name) return &set;
  }
  return nullptr;
}

Evaluation read_evaluation(const std::string& folder) {
  const std::string path = folder + "/results.json";
  const std::string text = read_file(path);
  try {
    const Json json = Json::parse(text);
    Evaluation evaluation;
    evaluation.folder = folder;
    evaluation.step = optional_at<std::int64_t>(json, "step");
    evaluation.samples = optional_at<std::int64_t>(json, "samples");
    evaluation.checkpoint = text_at(json, "checkpoint");
    evaluation.model = text_at(json, "model");
    evaluation.kind = optional_at<std::string>(json, "kind").value_or(evaluation.kind);
    if (json.contains("merge") && !json["merge"].is_null()) {
      evaluation.merge = read_merge(json["merge"]);
    }
    for (const Json& set : json.at("sets")) evaluation.sets.push_back(read_set(set));
    return evaluation;
  } catch (const Json::exception& e) {
    throw DataError(str(path, ": not the results of an evaluation: ", e.what()));
  } catch (const Error& e) {
    throw DataError(str(path, ": ", e.what()));
  }
}

}  // namespace plumbline
