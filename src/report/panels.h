// The scatter plots of a report: which accuracies stand against which, the lines fitted to them and
// how far each model stands from the lines.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plumbline/stats.h"
#include "report/model_table.h"
#include "report/run.h"

namespace plumbline {

/// Both tables of a report; absent ones are empty.
struct ReportTables {
  std::optional<ModelTable> models, baseline;
  [[nodiscard]] bool has(const std::string& column) const;
};

/// A line fitted to the points of a panel, in transformed coordinates.
struct Fit {
  Transform transform = Transform::logit;
  std::string baseline;  ///< standard | extended | supervised | checkpoints
  std::string run;       ///< of "checkpoints"
  std::string metric;
  std::string piece = "all";     ///< all | below | above (the knee)
  std::optional<double> lo, hi;  ///< accuracies between which the piece holds (exclusive)
  Line line;
  Interval fitted;                    ///< smallest and largest accuracy fitted to
  std::vector<double> grid;           ///< transformed x
  std::optional<LineBand> band;       ///< none for checkpoints of fewer than kBandPoints
  std::vector<std::string> left_out;  ///< accuracy 0 or 1: no place on the axis
};
inline constexpr std::size_t kBandPoints = 5;

/// A point's distance from one baseline. `lines` is "two" where pieces below and above a knee are
/// used, else "one".
struct Departure {
  std::string baseline, lines;
  Transform transform = Transform::logit;
  double effective_robustness = 0;  ///< rho, a fraction
  double residual = 0;
};

/// One model (or checkpoint of a run) on one panel.
struct PanelPoint {
  std::string name, source;  ///< source: run | models | baseline
  std::string type;          ///< the table's, or the run's name
  std::string kind;          ///< of runs: contrastive | supervised | merged
  std::string arm;           ///< models that differ by the seed alone share it; empty: no arm's
  std::string metric;
  std::optional<std::int64_t> step, x_n, y_n;
  double x = 0, y = 0;
  std::optional<Interval> x_ci95, y_ci95;
  std::optional<Interval> x_ci995, y_ci995;
  std::optional<double> relative_robustness;  ///< tau against the parent the table names
  std::vector<Departure> departures;
};

/// One scatter plot: accuracy on a shift against accuracy on its reference.
struct Panel {
  std::string x, y;  ///< columns of the tables, or names of sets
  ClassAxis axis = ClassAxis::full;
  std::string x_set, y_set;         ///< the runs' sets, empty when none has the pair
  std::optional<std::size_t> rule;  ///< place in shift_rules()
  std::vector<Fit> fits;
  std::vector<PanelPoint> points;
};

/// Every pair of shift and reference that the runs or the tables hold, with all fits. What could
/// not be fitted is told in `notes`.
[[nodiscard]] std::vector<Panel> make_panels(const std::vector<Run>& runs,
                                             const ReportTables& tables,
                                             std::vector<std::string>& notes);

/// The column of the tables that the set stands for: its name, or what its layout is called in
/// published tables; its name when no table has either.
[[nodiscard]] std::string column_of(const SetAccuracy& set, const ReportTables& tables);

}  // namespace plumbline
