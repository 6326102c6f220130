#include "report/published_table.h"

#include <array>
#include <charconv>
#include <string_view>
#include <vector>

#include "plumbline/error.h"

namespace plumbline {
namespace {

struct ColumnName {
  std::string_view theirs, ours;
};

// docs/openclip_results.csv and openclip_classification_results.csv of mlfoundations/open_clip.
constexpr std::array kOpenClip = {
    ColumnName{"ImageNet 1k", "imagenet"},   ColumnName{"ImageNet v2", "v2"},
    ColumnName{"ImageNet Sketch", "sketch"}, ColumnName{"ImageNet-R", "r"},
    ColumnName{"ImageNet-A", "a"},           ColumnName{"ObjectNet", "objectnet"}};

// robustness_top1s.csv of modestyachts/imagenet-testbed.
constexpr std::array kTestbed = {
    ColumnName{"val", "imagenet"},
    ColumnName{"imagenetv2-matched-frequency-format-val", "v2"},
    ColumnName{"imagenet-sketch", "sketch"},
    ColumnName{"imagenet-r", "r"},
    ColumnName{"imagenet-a", "a"},
    ColumnName{"objectnet-1.0-beta", "objectnet"},
    ColumnName{"val-on-imagenet-r-classes", "imagenet_r_classes"},
    ColumnName{"val-on-imagenet-a-classes", "imagenet_a_classes"},
    ColumnName{"val-on-objectnet-classes", "imagenet_objectnet_classes"}};

/// Places of the columns that got our names.
template <std::size_t N>
std::vector<std::size_t> rename(CsvTable& table, const std::array<ColumnName, N>& names) {
  std::vector<std::size_t> renamed;
  for (const ColumnName& name : names) {
    const auto place = table.column(std::string(name.theirs));
    if (!place || table.column(std::string(name.ours))) continue;
    table.columns[*place] = name.ours;
    renamed.push_back(*place);
  }
  return renamed;
}

void add_column(CsvTable& table, const std::string& name, std::vector<std::string> cells) {
  table.columns.push_back(name);
  for (std::size_t i = 0; i < cells.size(); ++i) table.rows[i].push_back(std::move(cells[i]));
}

void adopt_openclip(CsvTable& table) {
  const std::size_t name = *table.column("name"), pretrained = *table.column("pretrained");
  std::vector<std::string> models, types;
  for (const auto& row : table.rows) {
    models.push_back(str(row[name], "/", row[pretrained]));
    types.emplace_back(row[pretrained] == "openai" ? "openai" : "openclip");
  }
  add_column(table, "model", std::move(models));
  if (!table.column("type")) add_column(table, "type", std::move(types));
  (void)rename(table, kOpenClip);
}

/// The fraction, in as many digits as read back the same value; cells that are no number stay.
std::string to_fraction(const std::string& cell, const std::string& where) {
  double percent = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), percent);
  if (error != std::errc() || end != cell.data() + cell.size()) return cell;
  if (!(percent >= 0 && percent <= 100)) {
    throw DataError(str(where, "'", cell, "' is no percentage from 0 to 100"));
  }
  char text[32];
  const auto written = std::to_chars(text, text + sizeof text, percent / 100);
  return {text, written.ptr};
}

void adopt_testbed(CsvTable& table) {
  const std::vector<std::size_t> columns = rename(table, kTestbed);
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    for (const std::size_t c : columns) {
      table.rows[i][c] = to_fraction(table.rows[i][c], str(table.path, ":", table.line_of_row[i],
                                                           ": ", table.columns[c], " "));
    }
  }
  if (!table.column("type")) {
    add_column(table, "type", std::vector<std::string>(table.rows.size(), "UNTYPED"));
  }
}

}  // namespace

std::string adopt_published_columns(CsvTable& table) {
  const bool has_model = table.column("model").has_value();
  if (!has_model && table.column("name") && table.column("pretrained")) {
    adopt_openclip(table);
    return "openclip";
  }
  if (has_model && table.column("val") && !table.column("imagenet")) {
    adopt_testbed(table);
    return "testbed";
  }
  return "plumbline";
}

}  // namespace plumbline
