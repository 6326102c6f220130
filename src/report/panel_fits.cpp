#include "report/panel_fits.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::size_t kGridPoints = 200;
constexpr std::size_t kLeastPoints = 3;  // of a fit: two points are on every line
constexpr const char* kSupervisedBaseline = "supervised";

struct Piece {
  const char* name;
  std::optional<double> lo, hi;
  [[nodiscard]] bool holds(double x) const { return (!lo || x > *lo) && (!hi || x < *hi); }
};

/// The rule of a panel; one of other sets has no threshold and no knee.
ShiftRule rule_of(const Panel& panel) {
  if (panel.rule) return shift_rules()[*panel.rule];
  return {panel.y, ClassAxis::full, panel.x, 0.0, std::nullopt, ""};
}

std::vector<Piece> pieces_of(const ShiftRule& rule) {
  std::vector<Piece> pieces = {{"all", {}, {}}};
  if (rule.knee) {
    pieces.push_back({"below", {}, rule.knee});
    pieces.push_back({"above", rule.knee, {}});
  }
  return pieces;
}

bool has_place(Transform transform, const PanelPoint& p) {
  return std::isfinite(apply(transform, p.x)) && std::isfinite(apply(transform, p.y));
}

/// Evenly over the points of the panel that lie in the piece, in transformed x.
std::vector<double> make_grid(const Panel& panel, Transform transform, const Piece& piece) {
  double lo = HUGE_VAL, hi = -HUGE_VAL;
  for (const PanelPoint& p : panel.points) {
    const double z = apply(transform, p.x);
    if (!std::isfinite(z)) continue;
    lo = std::min(lo, z);
    hi = std::max(hi, z);
  }
  if (piece.lo) lo = std::max(lo, apply(transform, *piece.lo));
  if (piece.hi) hi = std::min(hi, apply(transform, *piece.hi));
  std::vector<double> grid(kGridPoints);
  for (std::size_t i = 0; i < kGridPoints; ++i) {
    grid[i] = lo + (hi - lo) * static_cast<double>(i) / (kGridPoints - 1);
  }
  return grid;
}

/// Fits `fit.line` and its band to the chosen points; false when they make no line.
bool fit_points(const Panel& panel, const std::vector<std::size_t>& chosen, const Piece& piece,
                Fit& fit) {
  std::vector<double> x, y;
  fit.fitted = {1, 0};
  for (const std::size_t i : chosen) {
    const PanelPoint& p = panel.points[i];
    x.push_back(apply(fit.transform, p.x));
    y.push_back(apply(fit.transform, p.y));
    fit.fitted.lo = std::min(fit.fitted.lo, p.x);
    fit.fitted.hi = std::max(fit.fitted.hi, p.x);
  }
  if (x.size() < kLeastPoints || fit.fitted.lo == fit.fitted.hi) return false;
  fit.piece = piece.name;
  fit.lo = piece.lo;
  fit.hi = piece.hi;
  fit.line = fit_line(x, y);
  fit.grid = make_grid(panel, fit.transform, piece);
  if (x.size() >= kBandPoints) fit.band = bootstrap_line(x, y, fit.grid);
  return true;
}

/// Places in panel.points of the baseline table's rows, and the rows as stats knows them.
struct TablePoints {
  std::vector<std::size_t> place;
  std::vector<ModelPoint> points;
};

TablePoints baseline_points(const Panel& panel) {
  TablePoints table;
  for (std::size_t i = 0; i < panel.points.size(); ++i) {
    const PanelPoint& p = panel.points[i];
    if (p.source != "baseline") continue;
    table.place.push_back(i);
    table.points.push_back({p.name, p.type, p.x, p.y});
  }
  return table;
}

void fit_baseline(Panel& panel, const TablePoints& table, Baseline baseline, Transform transform,
                  std::vector<std::string>& notes) {
  const ShiftRule rule = rule_of(panel);
  const auto chosen = select_baseline(table.points, rule, baseline, transform);
  for (const Piece& piece : pieces_of(rule)) {
    Fit fit;
    fit.transform = transform;
    fit.baseline = name_of(baseline);
    fit.metric = panel.points[table.place[0]].metric;
    std::vector<std::size_t> places;
    for (const std::size_t i : chosen) {
      if (piece.holds(*table.points[i].x)) places.push_back(table.place[i]);
    }
    for (const std::size_t i : select_baseline(table.points, rule, baseline, Transform::linear)) {
      const PanelPoint& p = panel.points[table.place[i]];
      if (piece.holds(p.x) && !has_place(transform, p)) fit.left_out.push_back(p.name);
    }
    if (fit_points(panel, places, piece, fit)) {
      panel.fits.push_back(std::move(fit));
    } else if (transform == Transform::linear) {
      notes.push_back(str("baseline ", name_of(baseline), " of ", panel.y, " against ", panel.x,
                          ", piece ", piece.name, ": ", places.size(),
                          " models make no line; no effective robustness"));
    }
  }
}

void fit_checkpoints(Panel& panel, const std::string& run, const std::string& metric,
                     Transform transform) {
  Fit fit;
  fit.transform = transform;
  fit.baseline = "checkpoints";
  fit.run = run;
  fit.metric = metric;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < panel.points.size(); ++i) {
    const PanelPoint& p = panel.points[i];
    if (p.source != "run" || p.type != run || p.metric != metric) continue;
    if (has_place(transform, p)) {
      places.push_back(i);
    } else {
      fit.left_out.push_back(p.name);
    }
  }
  if (fit_points(panel, places, Piece{"all", {}, {}}, fit)) panel.fits.push_back(std::move(fit));
}

/// Through the newest evaluations of the runs with a head of their own: a baseline without a table.
void fit_supervised(Panel& panel, const std::string& metric, Transform transform) {
  Fit fit;
  fit.transform = transform;
  fit.baseline = kSupervisedBaseline;
  fit.metric = metric;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < panel.points.size(); ++i) {
    const PanelPoint& p = panel.points[i];
    // A point without an arm is an earlier checkpoint, which is no model of its own.
    if (p.kind != "supervised" || p.arm.empty() || p.metric != metric) continue;
    if (has_place(transform, p)) {
      places.push_back(i);
    } else {
      fit.left_out.push_back(p.name);
    }
  }
  if (fit_points(panel, places, Piece{"all", {}, {}}, fit)) panel.fits.push_back(std::move(fit));
}

void add_departures(Panel& panel, const Fit& fit, bool knee) {
  for (PanelPoint& p : panel.points) {
    const Piece piece{"", fit.lo, fit.hi};
    if (p.metric != fit.metric || !has_place(fit.transform, p) || !piece.holds(p.x)) continue;
    p.departures.push_back({fit.baseline, knee && fit.piece != "all" ? "two" : "one", fit.transform,
                            effective_robustness(fit.line, fit.transform, p.x, p.y),
                            residual(fit.line, fit.transform, p.x, p.y)});
  }
}

}  // namespace

void fit_panel(Panel& panel, std::vector<std::string>& notes) {
  std::set<std::string> runs;
  for (const PanelPoint& p : panel.points) {
    if (p.source == "run") runs.insert(p.type);
  }
  const TablePoints table = baseline_points(panel);
  for (const Transform transform : kTransforms) {
    for (const Baseline baseline : {Baseline::standard, Baseline::extended}) {
      if (!table.points.empty()) fit_baseline(panel, table, baseline, transform, notes);
    }
    for (const char* metric : {"top1", "mean_per_class"}) {
      fit_supervised(panel, metric, transform);
    }
  }
  const bool knee = rule_of(panel).knee.has_value();
  for (const Fit& fit : panel.fits) add_departures(panel, fit, knee);
  for (const Transform transform : kTransforms) {
    for (const std::string& run : runs) {
      fit_checkpoints(panel, run, "top1", transform);
      fit_checkpoints(panel, run, "mean_per_class", transform);
    }
  }
}

}  // namespace plumbline
