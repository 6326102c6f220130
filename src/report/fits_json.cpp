#include "report/fits_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "report/comparison_json.h"

namespace plumbline {
namespace {

Json fit_to_json(const Panel& panel, const Fit& fit) {
  Json json = {{"x", panel.x},
               {"y", panel.y},
               {"axis", name_of(panel.axis)},
               {"transform", name_of(fit.transform)},
               {"baseline", fit.baseline},
               {"run", or_null(fit.run)},
               {"metric", fit.metric},
               {"piece", fit.piece},
               {"range", Json::array({or_null(fit.lo), or_null(fit.hi)})},
               {"n", fit.line.n},
               {"slope", finite(fit.line.slope)},
               {"intercept", finite(fit.line.intercept)},
               {"r2", finite(fit.line.r2)},
               {"slope_error", finite(fit.line.slope_error)},
               {"intercept_error", finite(fit.line.intercept_error)},
               {"slope_ci95", nullptr},
               {"intercept_ci95", nullptr},
               {"fitted", to_json(fit.fitted)},
               {"left_out", fit.left_out}};
  if (fit.band) {
    json["slope_ci95"] = to_json(fit.band->slope);
    json["intercept_ci95"] = to_json(fit.band->intercept);
  }
  return json;
}

Json point_to_json(const Panel& panel, const PanelPoint& point) {
  return {{"name", point.name},
          {"source", point.source},
          {"type", point.type},
          {"kind", or_null(point.kind)},
          {"arm", or_null(point.arm)},
          {"step", or_null(point.step)},
          {"x", panel.x},
          {"y", panel.y},
          {"axis", name_of(panel.axis)},
          {"metric", point.metric},
          {"x_value", point.x},
          {"y_value", point.y},
          {"x_n", or_null(point.x_n)},
          {"n", or_null(point.y_n)},
          {"x_ci95", or_null(point.x_ci95)},
          {"ci95", or_null(point.y_ci95)},
          {"x_ci995", or_null(point.x_ci995)},
          {"ci995", or_null(point.y_ci995)},
          {"relative_robustness", or_null(point.relative_robustness)}};
}

void add_models(const Panel& panel, const PanelPoint& point, Json& models) {
  Json json = point_to_json(panel, point);
  if (point.departures.empty()) {
    json.update({{"transform", nullptr},
                 {"baseline", nullptr},
                 {"lines", nullptr},
                 {"effective_robustness", nullptr},
                 {"residual", nullptr}});
    models.push_back(std::move(json));
    return;
  }
  for (const Departure& d : point.departures) {
    json["transform"] = name_of(d.transform);
    json["baseline"] = d.baseline;
    json["lines"] = d.lines;
    json["effective_robustness"] = finite(d.effective_robustness);
    json["residual"] = finite(d.residual);
    models.push_back(json);
  }
}

}  // namespace

std::string fits_json(const ReportContent& content) {
  Json fits = Json::array(), models = Json::array(), paired = Json::array(),
       contrasts = Json::array();
  for (const PairedSet& pair : content.paired) paired.push_back(paired_to_json(pair, false));
  for (const ArmContrast& c : content.contrasts) contrasts.push_back(contrast_to_json(c));
  const ReportTables& tables = content.tables;
  for (const Panel& panel : content.panels) {
    for (const Fit& fit : panel.fits) fits.push_back(fit_to_json(panel, fit));
    for (const PanelPoint& point : panel.points) {
      if (point.source != "baseline") add_models(panel, point, models);
    }
  }
  const Json sources = {
      {"models", or_null(tables.models ? tables.models->path : "")},
      {"models_format", or_null(tables.models ? tables.models->format : "")},
      {"baseline", or_null(tables.baseline ? tables.baseline->path : "")},
      {"baseline_format", or_null(tables.baseline ? tables.baseline->format : "")},
      {"bootstrap_seed", kBootstrapSeed}};
  const Json json = {{"fits", fits},
                     {"models", models},
                     {"paired", paired},
                     {"contrasts", contrasts},
                     {"sources", sources}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace plumbline
