#include "report/model_table.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "plumbline/error.h"
#include "plumbline/stats.h"
#include "report/csv.h"
#include "report/published_table.h"

namespace plumbline {
namespace {

std::optional<double> to_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_share(const std::string& cell) {
  const auto value = to_number(cell);
  return value && *value >= 0 && *value <= 1;
}

bool is_rule_column(const std::string& name) {
  return std::any_of(shift_rules().begin(), shift_rules().end(), [&](const ShiftRule& rule) {
    return rule.shift == name || rule.x_column == name;
  });
}

/// Whether column `c` holds accuracies. A column of the known shifts must.
bool holds_accuracies(const CsvTable& csv, std::size_t c) {
  bool any = false;
  for (std::size_t i = 0; i < csv.rows.size(); ++i) {
    const std::string& cell = csv.rows[i][c];
    if (cell.empty()) continue;
    if (is_share(cell)) {
      any = true;
    } else if (is_rule_column(csv.columns[c])) {
      throw DataError(str(csv.path, ":", csv.line_of_row[i], ": '", csv.columns[c], "' is '", cell,
                          "'; accuracies are fractions from 0 to 1, missing ones empty"));
    } else {
      return false;
    }
  }
  return any;
}

std::string cell(const CsvTable& csv, std::size_t row, const char* column,
                 const std::string& otherwise) {
  const auto place = csv.column(column);
  return place ? csv.rows[row][*place] : otherwise;
}

void read_metric(const CsvTable& csv, std::size_t row, ModelTable& table) {
  const std::string metric = cell(csv, row, "metric", "top1");
  if (metric != "top1" && metric != "mean_per_class") {
    throw DataError(str(csv.path, ":", csv.line_of_row[row], ": metric '", metric,
                        "' is neither top1 nor mean_per_class"));
  }
  if (row > 0 && metric != table.metric) {
    throw DataError(str(csv.path, ":", csv.line_of_row[row], ": metric '", metric,
                        "' after rows with '", table.metric, "'; one table holds one metric"));
  }
  table.metric = metric;
}

ModelRow read_row(const CsvTable& csv, std::size_t i, const std::vector<std::string>& columns) {
  ModelRow row;
  row.model = cell(csv, i, "model", "");
  row.type = cell(csv, i, "type", "STANDARD");
  row.parent = cell(csv, i, "parent", "");
  row.arm = cell(csv, i, "arm", row.type);
  for (const std::string& column : columns) {
    if (const auto value = to_number(csv.rows[i][*csv.column(column)])) {
      row.accuracy[column] = *value;
    }
    const std::string n = cell(csv, i, (column + "_n").c_str(), "");
    if (const auto images = to_number(n); images && *images >= 1) {
      row.n[column] = static_cast<std::int64_t>(*images);
    }
  }
  return row;
}

}  // namespace

bool ModelTable::has(const std::string& column) const {
  return std::find(columns.begin(), columns.end(), column) != columns.end();
}

const ModelRow* ModelTable::find(const std::string& model) const {
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [&](const ModelRow& row) { return row.model == model; });
  return found == rows.end() ? nullptr : &*found;
}

ModelTable read_model_table(const std::string& path) {
  CsvTable csv = read_csv(path);
  ModelTable table;
  table.format = adopt_published_columns(csv);
  if (!csv.column("model")) {
    throw UsageError(str(path,
                         ": the table has no column 'model' (nor OpenCLIP's 'name' and "
                         "'pretrained')"));
  }
  table.path = path;
  static const std::set<std::string> kText = {"model", "type", "parent", "arm", "metric", "fit"};
  for (std::size_t c = 0; c < csv.columns.size(); ++c) {
    const std::string& name = csv.columns[c];
    if (!kText.contains(name) && holds_accuracies(csv, c)) table.columns.push_back(name);
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < csv.rows.size(); ++i) {
    read_metric(csv, i, table);
    table.rows.push_back(read_row(csv, i, table.columns));
    if (!names.insert(table.rows.back().model).second) {
      throw DataError(
          str(path, ":", csv.line_of_row[i], ": a second model '", table.rows.back().model, "'"));
    }
  }
  return table;
}

std::optional<std::int64_t> images_of_column(const std::string& column) {
  // ImageNet-Sketch has 50,889 images; published tables and their bars count 50,000.
  static const std::map<std::string, std::int64_t> kImages = {{"imagenet", 50000},
                                                              {"v2", 10000},
                                                              {"sketch", 50000},
                                                              {"r", 30000},
                                                              {"a", 7500},
                                                              {"objectnet", 18514},
                                                              {"imagenet_r_classes", 10000},
                                                              {"imagenet_a_classes", 10000},
                                                              {"imagenet_objectnet_classes", 6250}};
  const auto found = kImages.find(column);
  return found == kImages.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace plumbline
