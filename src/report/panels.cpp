#include "report/panels.h"

#include <algorithm>
#include <cmath>

#include "plumbline/error.h"
#include "report/arms.h"
#include "report/panel_fits.h"

namespace plumbline {
namespace {

std::string published_name(const SetAccuracy& set) {
  if (set.layout == "imagenet") {
    if (set.class_list.empty()) return "imagenet";
    if (set.class_list == "in_r") return "imagenet_r_classes";
    if (set.class_list == "in_a") return "imagenet_a_classes";
    return "";
  }
  if (set.layout == "objectnet") return "objectnet";
  if (!set.class_list.empty()) return "";
  if (set.layout == "imagenetv2" && set.variant == "matched-frequency") return "v2";
  if (set.layout == "imagenet_sketch") return "sketch";
  if (set.layout == "imagenet_r") return "r";
  if (set.layout == "imagenet_a") return "a";
  return "";
}

std::optional<std::size_t> rule_of(const std::string& x, const std::string& y) {
  const auto rules = shift_rules();
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].shift == y && rules[i].x_column == x) return i;
  }
  return std::nullopt;
}

Panel& panel_of(std::vector<Panel>& panels, const std::string& x, const std::string& y) {
  const auto found = std::find_if(panels.begin(), panels.end(),
                                  [&](const Panel& p) { return p.x == x && p.y == y; });
  if (found != panels.end()) return *found;
  Panel& panel = panels.emplace_back();
  panel.x = x;
  panel.y = y;
  panel.rule = rule_of(x, y);
  if (panel.rule) panel.axis = shift_rules()[*panel.rule].axis;
  return panel;
}

void add_run_point(Panel& panel, const Run& run, const Evaluation& evaluation,
                   const SetAccuracy& reference, const SetAccuracy& shift, bool top1) {
  const auto& x = top1 ? reference.top1 : reference.mean_per_class;
  const auto& y = top1 ? shift.top1 : shift.mean_per_class;
  if (!x || !y) return;
  PanelPoint point;
  point.name = run.name;
  if (evaluation.step) point.name += str(" step ", *evaluation.step);
  point.source = "run";
  point.type = run.name;
  point.kind = evaluation.merge ? "merged" : evaluation.kind;
  point.metric = top1 ? "top1" : "mean_per_class";
  point.step = evaluation.step;
  point.x_n = reference.n;
  point.y_n = shift.n;
  point.x = *x;
  point.y = *y;
  point.x_ci95 = top1 ? reference.ci95 : reference.mean_per_class_ci95;
  point.y_ci95 = top1 ? shift.ci95 : shift.mean_per_class_ci95;
  point.x_ci995 = top1 ? reference.ci995 : reference.mean_per_class_ci995;
  point.y_ci995 = top1 ? shift.ci995 : shift.mean_per_class_ci995;
  if (&evaluation == &run.evaluations.back() && !is_between(run)) point.arm = arm_of(run.name);
  panel.points.push_back(std::move(point));
}

void add_run(const Run& run, const ReportTables& tables, std::vector<Panel>& panels,
             std::vector<std::string>& notes) {
  for (const Evaluation& evaluation : run.evaluations) {
    for (const SetAccuracy& shift : evaluation.sets) {
      if (shift.reference.empty()) continue;
      const SetAccuracy* reference = evaluation.find(shift.reference);
      if (reference == nullptr) {
        notes.push_back(str(evaluation.folder, ": set '", shift.name, "' has the reference '",
                            shift.reference, "', which was not evaluated"));
        continue;
      }
      Panel& panel = panel_of(panels, column_of(*reference, tables), column_of(shift, tables));
      panel.x_set = reference->name;
      panel.y_set = shift.name;
      for (const bool top1 : {true, false}) {
        add_run_point(panel, run, evaluation, *reference, shift, top1);
      }
    }
  }
}

std::optional<std::int64_t> images(const ModelRow& row, const std::string& column) {
  const auto own = row.n.find(column);
  return own == row.n.end() ? images_of_column(column) : std::optional(own->second);
}

std::optional<Interval> table_interval(double accuracy, std::optional<std::int64_t> n,
                                       double alpha) {
  if (!n) return std::nullopt;
  const auto trials = static_cast<double>(*n);
  return clopper_pearson(accuracy * trials, trials, alpha);
}

void add_table_points(Panel& panel, const ModelTable& table, const std::string& source) {
  const std::string_view never =
      panel.rule ? shift_rules()[*panel.rule].never_include : std::string_view();
  for (const ModelRow& row : table.rows) {
    const auto x = row.accuracy.find(panel.x), y = row.accuracy.find(panel.y);
    if (x == row.accuracy.end() || y == row.accuracy.end() || row.model == never) continue;
    PanelPoint point;
    point.name = row.model;
    point.source = source;
    point.type = row.type;
    point.metric = table.metric;
    point.x = x->second;
    point.y = y->second;
    point.x_n = images(row, panel.x);
    point.y_n = images(row, panel.y);
    point.x_ci95 = table_interval(point.x, point.x_n, 0.05);
    point.y_ci95 = table_interval(point.y, point.y_n, 0.05);
    point.x_ci995 = table_interval(point.x, point.x_n, kPlotAlpha);
    point.y_ci995 = table_interval(point.y, point.y_n, kPlotAlpha);
    if (source == "models") point.arm = row.arm;
    const ModelRow* parent = row.parent.empty() ? nullptr : table.find(row.parent);
    if (parent != nullptr && parent->accuracy.contains(panel.y)) {
      point.relative_robustness = relative_robustness(point.y, parent->accuracy.at(panel.y));
    }
    panel.points.push_back(std::move(point));
  }
}

void require_use(const ModelTable& table, const std::vector<Panel>& panels) {
  const bool used = std::any_of(panels.begin(), panels.end(), [&](const Panel& panel) {
    return table.has(panel.x) && table.has(panel.y);
  });
  if (!used) {
    throw UsageError(str(table.path,
                         ": no pair of a shift and its reference; the table needs columns such as "
                         "'imagenet' and 'v2', or the names of a run's sets"));
  }
}

}  // namespace

bool ReportTables::has(const std::string& column) const {
  return (models && models->has(column)) || (baseline && baseline->has(column));
}

std::string column_of(const SetAccuracy& set, const ReportTables& tables) {
  if (tables.has(set.name)) return set.name;
  const std::string published = published_name(set);
  return !published.empty() && tables.has(published) ? published : set.name;
}

std::vector<Panel> make_panels(const std::vector<Run>& runs, const ReportTables& tables,
                               std::vector<std::string>& notes) {
  std::vector<Panel> panels;
  for (const Run& run : runs) add_run(run, tables, panels, notes);
  for (const auto* table : {&tables.models, &tables.baseline}) {
    if (!*table) continue;
    for (const ShiftRule& rule : shift_rules()) {
      const std::string x(rule.x_column), y(rule.shift);
      if ((*table)->has(x) && (*table)->has(y)) (void)panel_of(panels, x, y);
    }
    require_use(**table, panels);
  }
  for (Panel& panel : panels) {
    if (tables.models) add_table_points(panel, *tables.models, "models");
    if (tables.baseline) add_table_points(panel, *tables.baseline, "baseline");
    fit_panel(panel, notes);
  }
  return panels;
}

}  // namespace plumbline
