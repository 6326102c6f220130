#include "data/manifest.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// A reader of RFC 4180 records: a quoted cell may hold separators, line ends and doubled quotes.
class RecordReader {
 public:
  RecordReader(const std::string& text, char separator, bool raw, const std::string& path)
      : text_(text), separator_(separator), raw_(raw), path_(path) {}

  [[nodiscard]] bool next(ManifestRow& row) {
    if (at_ >= text_.size()) return false;
    row = ManifestRow{line_, {}};
    for (bool more = true; more;) {
      std::string cell = !raw_ && peek() == '"' ? quoted_cell() : plain_cell();
      row.cells.push_back(std::move(cell));
      more = peek() == separator_;
      if (more) ++at_;
    }
    end_line();
    return true;
  }

 private:
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\n'; }

  std::string plain_cell() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != separator_ && text_[at_] != '\n' &&
           text_[at_] != '\r') {
      ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

  std::string quoted_cell() {
    const std::int64_t opened = line_;
    std::string cell;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        cell += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        cell += '"';
        ++at_;
      } else {
        ++at_;
        if (peek() != separator_ && peek() != '\n' && peek() != '\r') {
          throw DataError(str(path_, ":", line_, ": text after a closing quote"));
        }
        return cell;
      }
    }
    throw DataError(str(path_, ":", opened, ": a quote that never ends"));
  }

  void end_line() {
    if (at_ < text_.size() && text_[at_] == '\r') ++at_;
    if (at_ < text_.size() && text_[at_] == '\n') ++at_;
    ++line_;
  }

  const std::string& text_;
  char separator_;
  bool raw_;
  const std::string& path_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
};

std::string format_of(const std::string& path, const std::string& format) {
  std::string name = format;
  if (name.empty()) {
    name = std::filesystem::path(path).extension().string();
    if (!name.empty()) name.erase(0, 1);
  }
  if (name != "csv" && name != "tsv" && name != "jsonl") {
    throw UsageError(str("manifest ", path, ": format '", name, "' is none of csv, tsv, jsonl"));
  }
  return name;
}

Manifest read_table(const std::string& text, char separator, const std::string& path,
                    const ManifestOptions& options) {
  Manifest manifest;
  manifest.rows = split_records(text, separator, options.raw, path);
  manifest.columns = options.header;
  if (manifest.columns.empty() && !manifest.rows.empty()) {
    manifest.columns = std::move(manifest.rows.front().cells);
    manifest.rows.erase(manifest.rows.begin());
  }
  for (const ManifestRow& row : manifest.rows) {
    if (row.cells.size() != manifest.columns.size()) {
      throw DataError(str(path, ":", row.line, ": ", row.cells.size(), " cells for ",
                          manifest.columns.size(), " columns"));
    }
  }
  return manifest;
}

std::string cell_of(const nlohmann::ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_null() ? std::string() : value.dump();
}

Manifest read_json_lines(const std::string& text, const std::string& path) {
  Manifest manifest;
  std::int64_t line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    ++line;
    const std::string content = text.substr(begin, end - begin);
    begin = end + 1;
    if (content.find_first_not_of(" \r\t") == std::string::npos) continue;
    const auto object = nlohmann::ordered_json::parse(content, nullptr, false);
    if (!object.is_object()) throw DataError(str(path, ":", line, ": not a JSON object"));
    ManifestRow row{line, std::vector<std::string>(manifest.columns.size())};
    for (const auto& [name, value] : object.items()) {
      int column = manifest.column(name);
      if (column < 0) {
        column = static_cast<int>(manifest.columns.size());
        manifest.columns.push_back(name);
        row.cells.emplace_back();
      }
      row.cells[static_cast<std::size_t>(column)] = cell_of(value);
    }
    manifest.rows.push_back(std::move(row));
  }
  // Columns that came up later are empty in the rows before.
  for (ManifestRow& row : manifest.rows) row.cells.resize(manifest.columns.size());
  return manifest;
}

}  // namespace

int Manifest::column(const std::string& name) const {
  const auto found = std::find(columns.begin(), columns.end(), name);
  return found == columns.end() ? -1 : static_cast<int>(found - columns.begin());
}

std::vector<ManifestRow> split_records(const std::string& text, char separator, bool raw,
                                       const std::string& path) {
  std::vector<ManifestRow> rows;
  RecordReader reader(text, separator, raw, path);
  ManifestRow row;
  while (reader.next(row)) {
    if (row.cells.size() > 1 || !row.cells[0].empty()) rows.push_back(std::move(row));
  }
  return rows;
}

Manifest read_manifest(const std::string& path, const ManifestOptions& options) {
  const std::string format = format_of(path, options.format);
  std::string text = read_file(path);
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // a byte order mark is no column's name
  Manifest manifest = format == "jsonl"
                          ? read_json_lines(text, path)
                          : read_table(text, format == "csv" ? ',' : '\t', path, options);
  if (manifest.columns.empty()) throw UsageError(str("manifest ", path, " has no columns"));
  return manifest;
}

}  // namespace plumbline
