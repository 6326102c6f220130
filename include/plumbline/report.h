// The report of runs: one self-contained HTML page, fits.json, a table for the terminal. No torch.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace plumbline {

struct ReportOptions {
  std::vector<std::string> paths;  ///< run folders, or evaluation folders (with results.json)
  std::string models;              ///< CSV of models to place on the scatter plots; may be empty
  std::string baseline;            ///< CSV of models that the baseline is fitted to; may be empty
  std::string out;                 ///< folder for index.html and fits.json
};

/// Where the pictures of an evaluated set stand, as results.json records it.
struct PictureSource {
  std::string name, layout, path, split, variant, class_list;
};

/// Encoded bytes of the images with these keys, in order; empty where there is none. Thrown Errors
/// become a note on the page: a report needs no pictures.
using PictureReader = std::function<std::vector<std::string>(const PictureSource& source,
                                                             const std::vector<std::string>& keys)>;

struct ReportSummary {
  std::string index_html;          ///< path of the page
  std::string table;               ///< newest evaluation of each run, aligned, with 95 % intervals
  std::vector<std::string> notes;  ///< what was odd or missing in the inputs
};

/// Reads runs and tables, fits every combination of shift, axis, baseline and transform, writes
/// OUT/fits.json and OUT/index.html atomically (the page last).
///   A table has the columns model, type (optional: all STANDARD), parent (optional: the model
///   without the intervention), metric (optional: top1 | mean_per_class, default top1), and
///   accuracies under the columns of shift_rules() or under the names of a run's sets; SET_n
///   (optional) is the number of images. Empty cells are missing.
/// Throws UsageError for a path that is no run or evaluation folder and for tables without a usable
/// column, DataError naming file and place for broken files and when there is nothing to show.
[[nodiscard]] ReportSummary write_report(const ReportOptions& options,
                                         const PictureReader& read_pictures);

}  // namespace plumbline
