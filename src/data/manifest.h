// Tables that name images and captions: CSV and TSV (RFC 4180 quoting), JSON lines.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plumbline {

struct ManifestOptions {
  std::string format;               ///< csv | tsv | jsonl; empty: by the file's name
  bool raw = false;                 ///< quotes are ordinary characters
  std::vector<std::string> header;  ///< column names of a file without a header line
};

struct ManifestRow {
  std::int64_t line = 0;           ///< of the file, from 1
  std::vector<std::string> cells;  ///< one a column; an absent JSON value is empty
};

struct Manifest {
  std::vector<std::string> columns;
  std::vector<ManifestRow> rows;
  /// Position of a column, or -1.
  [[nodiscard]] int column(const std::string& name) const;
};

/// Throws DataError naming file and line for a row with another number of cells, a quote that never
/// ends, a line that is no JSON object; UsageError for an unknown format or a file without columns.
/// Holds the whole table in memory.
[[nodiscard]] Manifest read_manifest(const std::string& path, const ManifestOptions& options = {});

/// Splits CSV or TSV text into records; exposed for tests.
[[nodiscard]] std::vector<ManifestRow> split_records(const std::string& text, char separator,
                                                     bool raw, const std::string& path);

}  // namespace plumbline
