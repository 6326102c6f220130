// What a run or evaluation folder says, read once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plumbline/stats.h"

namespace plumbline {

/// One set of a results.json; metrics are empty where undefined.
struct SetAccuracy {
  std::string name, kind, layout, role, reference, path, split, variant, head, templates,
      class_list;
  std::optional<std::int64_t> border_px;
  std::int64_t n = 0, classes = 0, skipped = 0;
  std::optional<double> top1, top5, mean_per_class;
  std::optional<Interval> ci95, mean_per_class_ci95;    ///< what tables show
  std::optional<Interval> ci995, mean_per_class_ci995;  ///< the bars of plots
  std::vector<std::string> class_names;
  std::vector<std::int64_t> class_n, class_correct;
  /// Shares that are no accuracy over classes, under their names: recalls, macro_f1, worst_region
  /// ...
  std::vector<std::pair<std::string, double>> others;
};

/// How the weights of an evaluated checkpoint were made from those of others.
struct MergedFrom {
  std::string kind;                 ///< interpolate | uniform | greedy
  std::vector<std::string> inputs;  ///< checkpoints
  std::optional<double> alpha;      ///< interpolate: the share of the second
};

struct Evaluation {
  std::string folder;
  std::optional<std::int64_t> step, samples;
  std::string checkpoint, model;
  std::string kind = "contrastive";  ///< contrastive (scored by prompts) | supervised (by its head)
  std::optional<MergedFrom> merge;
  std::vector<SetAccuracy> sets;
  [[nodiscard]] const SetAccuracy* find(const std::string& name) const;
};

/// Columns of metrics.jsonl, all of one length. Above kCurvePoints lines each value is the mean of
/// `lines_per_point` logged lines.
struct Curves {
  std::vector<std::pair<std::string, std::vector<std::optional<double>>>> columns;
  std::int64_t lines = 0, lines_per_point = 1;
};
inline constexpr std::int64_t kCurvePoints = 1500;

struct Run {
  std::string name;  ///< last part of the path; unique in a report
  std::string path;
  std::string model;
  std::string config_yaml;
  std::string environment_json;
  std::optional<std::int64_t> world, total_steps;
  std::optional<double> start_time;  ///< seconds since 1970
  std::string commit;
  Curves curves;
  std::vector<Evaluation> evaluations;  ///< by step
  std::vector<std::string> notes;
};

/// Whether the newest evaluation is of a model strictly between two others: a point of a curve, not
/// a model of its own.
[[nodiscard]] bool is_between(const Run& run);

/// Throws UsageError when PATH is no run or evaluation folder, DataError for a broken results.json.
/// A torn line of metrics.jsonl, an evaluation without results and a missing file become notes.
[[nodiscard]] Run read_run(const std::string& path);

/// All paths; equal names are told apart by their paths. Throws DataError when no run holds a
/// metric or an evaluation.
[[nodiscard]] std::vector<Run> read_runs(const std::vector<std::string>& paths);

}  // namespace plumbline
