// Comma-separated text with a header line (RFC 4180 quoting).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace plumbline {

struct CsvTable {
  std::string path;
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  ///< each as long as columns
  std::vector<std::size_t> line_of_row;        ///< from 1, for messages
  [[nodiscard]] std::optional<std::size_t> column(const std::string& name) const;
};

/// Throws DataError "PATH:LINE: ..." for a row of another length, an open quote, a missing or
/// repeated column name.
[[nodiscard]] CsvTable read_csv(const std::string& path);
[[nodiscard]] CsvTable parse_csv(const std::string& text, const std::string& path);

}  // namespace plumbline
