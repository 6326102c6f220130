// results.json, predictions/SET.csv, the table on the terminal.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "eval/layouts.h"
#include "plumbline/error.h"

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

Json or_null(const std::optional<MergeRecord>& merge) {
  if (!merge) return nullptr;
  return {{"kind", merge->kind}, {"inputs", merge->inputs}, {"alpha", or_null(merge->alpha)}};
}

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

void add_recalls(Json& json, const RetrievalResult& retrieval) {
  json["texts"] = retrieval.image_place.size();
  for (std::size_t i = 0; i < kRecallAt.size(); ++i) {
    json[str("image_recall@", kRecallAt[i])] = or_null(retrieval.image_recall[i]);
  }
  for (std::size_t i = 0; i < kRecallAt.size(); ++i) {
    json[str("text_recall@", kRecallAt[i])] = or_null(retrieval.text_recall[i]);
  }
}

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
               {"macro_f1", or_null(set.macro_f1)},
               {"seconds", set.seconds},
               {"images_per_s", set.seconds > 0
                                    ? Json(static_cast<double>(set.n + set.skipped) / set.seconds)
                                    : Json(nullptr)},
               {"skipped", set.skipped},
               {"path", o.path},
               {"templates", or_null(set.templates)},
               {"class_list", or_null(o.classes)}};
  if (has_splits(o.layout)) json["split"] = o.split;
  if (o.layout == "imagenetv2") json["variant"] = o.variant;
  if (o.layout == "objectnet") {
    json["head"] = o.head;
    json["border_px"] = o.border_px;
  }
  for (const GroupResult& g : set.groups) {
    json["worst_" + g.name] = or_null(g.worst);
    json["worst_" + g.name + "_is"] = or_null(g.worst_group);
    json[g.name + "_names"] = g.groups;
    json[g.name + "_n"] = g.n;
    json[g.name + "_correct"] = g.correct;
  }
  if (set.retrieval) add_recalls(json, *set.retrieval);
  if (set.multilabel) {
    json["mean_average_precision"] = or_null(set.multilabel->mean);
    json["class_average_precision"] = set.multilabel->average_precision;
    json["class_positives"] = set.multilabel->positives;
  }
  if (set.probe) {
    json["train"] = o.train;
    json["train_n"] = set.probe->train_n;
    json["validation"] = or_null(o.validation);
    json["validation_n"] = set.probe->validation_n;
    json["shots"] = o.shots;
    json["normalise"] = o.normalise;
    json["weight_decay"] = set.probe->weight_decay;
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

/// Texts first, `text` counting those of its image; then images. `place` counts from 0.
std::string places_csv(const RetrievalResult& r) {
  std::string csv = "query,key,text,place\n";
  std::int64_t text = 0;
  for (std::size_t i = 0; i < r.image_place.size(); ++i) {
    const std::int64_t image = r.image_of_text[i];
    text = i > 0 && r.image_of_text[i - 1] == image ? text + 1 : 0;
    csv += str("text,", csv_cell(r.image_keys[static_cast<std::size_t>(image)]), ",", text, ",",
               r.image_place[i], "\n");
  }
  for (std::size_t i = 0; i < r.text_place.size(); ++i) {
    csv += str("image,", csv_cell(r.image_keys[i]), ",,", r.text_place[i], "\n");
  }
  return csv;
}

/// `labels`: places of the image's classes, by spaces. Scores with all their digits.
std::string scores_csv(const MultilabelResult& r) {
  const std::size_t classes = r.average_precision.size();
  std::string csv = "key,labels";
  for (std::size_t c = 0; c < classes; ++c) csv += str(",score", c);
  csv += '\n';
  for (std::size_t i = 0; i < r.keys.size(); ++i) {
    csv += csv_cell(r.keys[i]) + ',';
    for (std::size_t k = 0; k < r.labels[i].size(); ++k)
      csv += str(k > 0 ? " " : "", r.labels[i][k]);
    for (std::size_t c = 0; c < classes; ++c) {
      char score[32];
      std::snprintf(score, sizeof score, ",%.9g",
                    static_cast<double>(r.scores_NC[i * classes + c]));
      csv += score;
    }
    csv += '\n';
  }
  return csv;
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
  const auto write = [&](const SetResult& set, const char* folder, const std::string& csv) {
    const fs::path below = fs::path(dir) / folder;
    std::error_code error;
    fs::create_directories(below, error);
    if (error) throw Error(str("making the folder ", below.string(), ": ", error.message()));
    write_file_atomically((below / (set.options.name + ".csv")).string(), csv);
  };
  for (const SetResult& set : results.sets) {
    if (set.retrieval) {
      write(set, "retrieval", places_csv(*set.retrieval));
    } else if (set.multilabel) {
      write(set, "multilabel", scores_csv(*set.multilabel));
    } else {
      write(set, "predictions", predictions_csv(set));
    }
  }
  Json json = {{"checkpoint", or_null(results.checkpoint)},
               {"step", or_null(results.step)},
               {"samples", or_null(results.samples)},
               {"model", or_null(results.model)},
               {"kind", results.kind},
               {"ema", or_null(results.ema)},
               {"merge", or_null(results.merge)},
               {"sets", Json::array()}};
  for (const SetResult& set : results.sets) json["sets"].push_back(to_json(set));
  // Written last: a folder with results.json is complete.
  write_file_atomically((fs::path(dir) / "results.json").string(),
                        json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

namespace {

using Rows = std::vector<std::vector<std::string>>;

/// The first column to the left, the others to the right. Nothing for a heading alone.
std::string align(const Rows& rows) {
  if (rows.size() < 2) return "";
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

Rows accuracy_rows(const EvalResults& results) {
  Rows rows = {
      {"set", "n", "classes", "top1 %", "95 %", "top5 %", "mean/class %", "95 %", "skipped"}};
  for (const SetResult& set : results.sets) {
    if (set.retrieval || set.multilabel) continue;
    rows.push_back({set.options.name, std::to_string(set.n), std::to_string(set.classes()),
                    percent(set.top1), percent(set.ci95), percent(set.top5),
                    percent(set.mean_per_class), percent(set.mean_per_class_ci95),
                    std::to_string(set.skipped)});
  }
  return rows;
}

Rows recall_rows(const EvalResults& results) {
  Rows rows = {{"retrieval", "images", "texts"}};
  for (const char* what : {"image", "text"}) {
    for (const std::int64_t k : kRecallAt) rows[0].push_back(str(what, " R@", k, " %"));
  }
  rows[0].emplace_back("skipped");
  for (const SetResult& set : results.sets) {
    if (!set.retrieval) continue;
    rows.push_back({set.options.name, std::to_string(set.n),
                    std::to_string(set.retrieval->image_place.size())});
    for (const auto& recall : set.retrieval->image_recall) rows.back().push_back(percent(recall));
    for (const auto& recall : set.retrieval->text_recall) rows.back().push_back(percent(recall));
    rows.back().push_back(std::to_string(set.skipped));
  }
  return rows;
}

Rows precision_rows(const EvalResults& results) {
  Rows rows = {{"multilabel", "images", "classes", "mean average precision %", "skipped"}};
  for (const SetResult& set : results.sets) {
    if (!set.multilabel) continue;
    rows.push_back({set.options.name, std::to_string(set.n), std::to_string(set.classes()),
                    percent(set.multilabel->mean), std::to_string(set.skipped)});
  }
  return rows;
}

/// Sets that have groups: what their papers report.
Rows group_rows(const EvalResults& results) {
  Rows rows = {{"worst group", "of", "accuracy %", "is", "macro F1 %"}};
  for (const SetResult& set : results.sets) {
    for (const GroupResult& g : set.groups) {
      rows.push_back({set.options.name, g.name, percent(g.worst),
                      g.worst_group.empty() ? "-" : g.worst_group, percent(set.macro_f1)});
    }
  }
  return rows;
}

}  // namespace

std::string print_table(const EvalResults& results) {
  return align(accuracy_rows(results)) + align(group_rows(results)) + align(recall_rows(results)) +
         align(precision_rows(results));
}

}  // namespace plumbline
