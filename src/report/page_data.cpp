#include "report/page_data.h"

#include <openssl/evp.h>

#include <cmath>
#include <ctime>

#include "plumbline/version.h"
#include "report/comparison_json.h"

namespace plumbline {
namespace {

/// Six digits after the point: a thousandth of a pixel on any screen.
Json rounded(double value) { return finite(std::round(value * 1e6) / 1e6); }

std::string base64(const std::string& bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

std::string utc(double seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

Json set_to_json(const SetAccuracy& set, const std::string& column) {
  Json others = Json::object();
  for (const auto& [name, value] : set.others) others[name] = finite(value);
  return {{"name", set.name},
          {"column", column},
          {"kind", set.kind},
          {"layout", set.layout},
          {"role", set.role},
          {"reference", or_null(set.reference)},
          {"split", or_null(set.split)},
          {"variant", or_null(set.variant)},
          {"head", or_null(set.head)},
          {"border_px", or_null(set.border_px)},
          {"class_list", or_null(set.class_list)},
          {"templates", or_null(set.templates)},
          {"n", set.n},
          {"classes", set.classes},
          {"skipped", set.skipped},
          {"top1", or_null(set.top1)},
          {"top5", or_null(set.top5)},
          {"others", others},
          {"mean_per_class", or_null(set.mean_per_class)},
          {"top1_ci95", or_null(set.ci95)},
          {"mean_per_class_ci95", or_null(set.mean_per_class_ci95)},
          {"top1_ci995", or_null(set.ci995)},
          {"mean_per_class_ci995", or_null(set.mean_per_class_ci995)}};
}

Json classes_to_json(const Evaluation& evaluation) {
  Json json = Json::array();
  for (const SetAccuracy& set : evaluation.sets) {
    if (set.class_n.empty()) continue;
    json.push_back({{"set", set.name},
                    {"names", set.class_names},
                    {"n", set.class_n},
                    {"correct", set.class_correct}});
  }
  return json;
}

Json examples_to_json(const std::vector<Example>& examples, const SetAccuracy& set) {
  const auto name = [&](std::int32_t c) {
    const auto place = static_cast<std::size_t>(c);
    return place < set.class_names.size() ? set.class_names[place] : std::to_string(c);
  };
  Json json = Json::array();
  for (const Example& e : examples) {
    Json predictions = Json::array();
    for (const std::int32_t c : e.predictions) predictions.push_back(name(c));
    json.push_back({{"key", e.key},
                    {"src", "data:" + media_type(e.bytes) + ";base64," + base64(e.bytes)},
                    {"target", name(e.target)},
                    {"predictions", predictions},
                    {"rank", e.rank}});
  }
  return json;
}

Json merge_to_json(const std::optional<MergedFrom>& merge) {
  if (!merge) return nullptr;
  return {{"kind", merge->kind}, {"inputs", merge->inputs}, {"alpha", or_null(merge->alpha)}};
}

Json run_to_json(const Run& run, const std::vector<SetExamples>& examples,
                 const ReportTables& tables) {
  Json curves = Json::object(), evaluations = Json::array(), shown = Json::array();
  for (const auto& [name, values] : run.curves.columns) {
    Json column = Json::array();
    for (const auto& value : values) column.push_back(value ? finite(*value) : Json(nullptr));
    curves[name] = std::move(column);
  }
  for (const Evaluation& e : run.evaluations) {
    Json sets = Json::array();
    for (const SetAccuracy& set : e.sets) sets.push_back(set_to_json(set, column_of(set, tables)));
    evaluations.push_back({{"step", or_null(e.step)},
                           {"samples", or_null(e.samples)},
                           {"checkpoint", or_null(e.checkpoint)},
                           {"kind", e.kind},
                           {"folder", e.folder},
                           {"merge", merge_to_json(e.merge)},
                           {"sets", sets}});
  }
  for (const SetExamples& e : examples) {
    const SetAccuracy& set = *run.evaluations.back().find(e.set);
    shown.push_back({{"set", e.set},
                     {"right", examples_to_json(e.right, set)},
                     {"wrong", examples_to_json(e.wrong, set)},
                     {"note", or_null(e.note)}});
  }
  return {{"name", run.name},
          {"path", run.path},
          {"model", or_null(run.model)},
          {"world", or_null(run.world)},
          {"commit", or_null(run.commit)},
          {"date", or_null(run.start_time ? utc(*run.start_time) : "")},
          {"total_steps", or_null(run.total_steps)},
          {"config", or_null(run.config_yaml)},
          {"environment", or_null(run.environment_json)},
          {"lines", run.curves.lines},
          {"lines_per_point", run.curves.lines_per_point},
          {"curves", curves},
          {"evaluations", evaluations},
          {"classes",
           run.evaluations.empty() ? Json::array() : classes_to_json(run.evaluations.back())},
          {"examples", shown}};
}

Json fit_to_json(const Fit& fit) {
  Json grid = Json::array(), lo = Json::array(), hi = Json::array();
  // A line through checkpoints is drawn without a band: its points are steps of one training.
  const bool band = fit.band && fit.baseline != "checkpoints";
  for (std::size_t i = 0; i < fit.grid.size() && band; ++i) {
    grid.push_back(rounded(fit.grid[i]));
    lo.push_back(rounded(fit.band->at[i].lo));
    hi.push_back(rounded(fit.band->at[i].hi));
  }
  return {{"transform", name_of(fit.transform)},
          {"baseline", fit.baseline},
          {"run", or_null(fit.run)},
          {"metric", fit.metric},
          {"piece", fit.piece},
          {"lo", or_null(fit.lo)},
          {"hi", or_null(fit.hi)},
          {"n", fit.line.n},
          {"slope", finite(fit.line.slope)},
          {"intercept", finite(fit.line.intercept)},
          {"r2", finite(fit.line.r2)},
          {"slope_ci95", fit.band ? to_json(fit.band->slope) : Json(nullptr)},
          {"fitted", to_json(fit.fitted)},
          {"grid", grid},
          {"band_lo", lo},
          {"band_hi", hi},
          {"left_out", fit.left_out}};
}

Json point_to_json(const PanelPoint& point) {
  Json departures = Json::object();
  if (point.source != "baseline") {
    for (const Departure& d : point.departures) {
      const std::string key = d.baseline + "/" + std::string(name_of(d.transform));
      // Two lines stand for the shift where a knee is known.
      if (departures.contains(key) && d.lines == "one") continue;
      departures[key] = Json::array({finite(d.effective_robustness), finite(d.residual)});
    }
  }
  return {{"name", point.name},
          {"source", point.source},
          {"type", point.type},
          {"kind", or_null(point.kind)},
          {"metric", point.metric},
          {"step", or_null(point.step)},
          {"x", point.x},
          {"y", point.y},
          {"x_n", or_null(point.x_n)},
          {"y_n", or_null(point.y_n)},
          {"x_ci95", or_null(point.x_ci95)},
          {"y_ci95", or_null(point.y_ci95)},
          {"x_ci995", or_null(point.x_ci995)},
          {"y_ci995", or_null(point.y_ci995)},
          {"arm", or_null(point.arm)},
          {"tau", or_null(point.relative_robustness)},
          {"departures", departures}};
}

Json panel_to_json(const Panel& panel) {
  Json fits = Json::array(), points = Json::array();
  for (const Fit& fit : panel.fits) fits.push_back(fit_to_json(fit));
  for (const PanelPoint& point : panel.points) points.push_back(point_to_json(point));
  return {{"x", panel.x},
          {"y", panel.y},
          {"axis", name_of(panel.axis)},
          {"x_set", or_null(panel.x_set)},
          {"y_set", or_null(panel.y_set)},
          {"known", panel.rule.has_value()},
          {"min_x", panel.rule ? Json(shift_rules()[*panel.rule].min_x) : Json(0.0)},
          {"knee", panel.rule ? or_null(shift_rules()[*panel.rule].knee) : Json(nullptr)},
          {"fits", fits},
          {"points", points}};
}

Json table_to_json(const std::optional<ModelTable>& table) {
  if (!table) return nullptr;
  return {{"path", table->path},
          {"format", table->format},
          {"metric", table->metric},
          {"rows", table->rows.size()}};
}

}  // namespace

std::string page_data(const ReportContent& content) {
  Json runs = Json::array(), panels = Json::array(), paired = Json::array(),
       contrasts = Json::array();
  for (const PairedSet& pair : content.paired) paired.push_back(paired_to_json(pair, true));
  for (const ArmContrast& c : content.contrasts) contrasts.push_back(contrast_to_json(c));
  for (std::size_t i = 0; i < content.runs.size(); ++i) {
    runs.push_back(run_to_json(content.runs[i], content.examples[i], content.tables));
  }
  for (const Panel& panel : content.panels) panels.push_back(panel_to_json(panel));
  const Json json = {{"version", version_string()},
                     {"commit", version_commit()},
                     {"written", utc(static_cast<double>(std::time(nullptr)))},
                     {"runs", runs},
                     {"tables",
                      {{"models", table_to_json(content.tables.models)},
                       {"baseline", table_to_json(content.tables.baseline)}}},
                     {"panels", panels},
                     {"paired", paired},
                     {"contrasts", contrasts},
                     {"notes", content.notes}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace plumbline
