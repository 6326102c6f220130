// A table of models with their accuracies: what --models and --baseline read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace plumbline {

struct ModelRow {
  std::string model, type, parent, arm;
  std::map<std::string, double> accuracy;  ///< by column; missing cells are absent
  std::map<std::string, std::int64_t> n;   ///< images, where the table has SET_n
};

struct ModelTable {
  std::string path;
  std::string format;                ///< plumbline | openclip | testbed (published_table.h)
  std::string metric = "top1";       ///< what its accuracies are
  std::vector<std::string> columns;  ///< of accuracies
  std::vector<ModelRow> rows;
  [[nodiscard]] bool has(const std::string& column) const;
  [[nodiscard]] const ModelRow* find(const std::string& model) const;
};

/// Columns whose cells are all empty or fractions count as accuracies; other columns are left
/// alone. Published formats are recognised by their columns. Throws UsageError without a column
/// 'model', DataError "PATH:LINE: ..." for a model named twice or an accuracy outside 0..1 in a
/// column of shift_rules().
[[nodiscard]] ModelTable read_model_table(const std::string& path);

/// Images of the set behind a column of shift_rules(); empty for other columns.
[[nodiscard]] std::optional<std::int64_t> images_of_column(const std::string& column);

}  // namespace plumbline
