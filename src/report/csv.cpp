#include "report/csv.h"

#include <algorithm>

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// Takes one record off `text` at `at`; counts its lines.
std::vector<std::string> next_record(const std::string& text, std::size_t& at, std::size_t& line,
                                     const std::string& path) {
  const std::size_t first_line = line;
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        cells.back() += c;
      } else if (at + 1 < text.size() && text[at + 1] == '"') {
        cells.back() += text[++at];
      } else {
        quoted = false;
      }
    } else if (c == '"' && cells.back().empty()) {
      quoted = true;
    } else if (c == ',') {
      cells.emplace_back();
    } else if (c == '\n') {
      ++at;
      break;
    } else if (c != '\r') {
      cells.back() += c;
    }
  }
  if (quoted) throw DataError(str(path, ":", first_line, ": a quote is not closed"));
  return cells;
}

}  // namespace

std::optional<std::size_t> CsvTable::column(const std::string& name) const {
  const auto found = std::find(columns.begin(), columns.end(), name);
  if (found == columns.end()) return std::nullopt;
  return static_cast<std::size_t>(found - columns.begin());
}

CsvTable parse_csv(const std::string& text, const std::string& path) {
  CsvTable table;
  table.path = path;
  std::size_t at = text.starts_with("\xEF\xBB\xBF") ? 3 : 0, line = 1;
  table.columns = next_record(text, at, line, path);
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const std::string& name = table.columns[i];
    if (name.empty()) throw DataError(str(path, ":1: column ", i + 1, " has no name"));
    if (table.column(name) != i) throw DataError(str(path, ":1: two columns named '", name, "'"));
  }
  while (at < text.size()) {
    const std::size_t first_line = line;
    std::vector<std::string> cells = next_record(text, at, line, path);
    if (cells.size() == 1 && cells[0].empty()) continue;
    if (cells.size() != table.columns.size()) {
      throw DataError(str(path, ":", first_line, ": ", cells.size(), " cells, but the header has ",
                          table.columns.size()));
    }
    table.rows.push_back(std::move(cells));
    table.line_of_row.push_back(first_line);
  }
  return table;
}

CsvTable read_csv(const std::string& path) { return parse_csv(read_file(path), path); }

}  // namespace plumbline
