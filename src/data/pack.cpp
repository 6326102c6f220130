#include "data/pack.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "core/file.h"
#include "data/byte_source.h"
#include "data/parallel.h"
#include "data/siphash.h"
#include "data/tar_writer.h"
#include "data/utf8.h"
#include "plumbline/error.h"
#include "plumbline/image.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::size_t kProbeBytes = 256 << 10;
constexpr std::size_t kNamed = 5;

struct Columns {
  int key, image, label;
  std::vector<int> captions;
};

struct PackRow {
  const ManifestRow* row = nullptr;
  std::string key;
  std::string path;
  std::string caption;
  std::string suffix;
  std::string problem;  ///< why it is left out
};

Columns columns_of(const Manifest& manifest, const PackOptions& options) {
  Columns columns{manifest.column(options.key_column),
                  manifest.column(options.image_column),
                  manifest.column(options.label_column),
                  {}};
  if (columns.image < 0) {
    throw UsageError(
        str("manifest ", options.manifest, ": no column '", options.image_column, "'"));
  }
  for (const std::string& name : options.caption_columns) {
    const int column = manifest.column(name);
    if (column < 0)
      throw UsageError(str("manifest ", options.manifest, ": no column '", name, "'"));
    columns.captions.push_back(column);
  }
  return columns;
}

const std::string& cell(const ManifestRow& row, int column) {
  return row.cells[static_cast<std::size_t>(column)];
}

std::string nine_digits(std::size_t number) {
  std::string digits = std::to_string(number);
  return digits.size() < 9 ? std::string(9 - digits.size(), '0') + digits : digits;
}

std::string key_problem(const std::string& key) {
  const std::size_t slash = key.rfind('/');
  const std::string base = slash == std::string::npos ? key : key.substr(slash + 1);
  if (base.empty()) return "the key is empty";
  if (base.find('.') != std::string::npos) return str("the key '", key, "' holds a dot");
  if (key.starts_with("__")) return str("the key '", key, "' begins with __");
  if (key.find('\0') != std::string::npos) return "the key holds a zero byte";
  return "";
}

/// The file that a cell names, kept inside `root`.
std::string resolve(const std::string& root, const std::string& name, std::string& problem) {
  const fs::path relative = fs::path(name).lexically_normal();
  if (name.empty()) {
    problem = "no image path";
  } else if (!root.empty() && (relative.is_absolute() || relative.begin()->string() == "..")) {
    problem = str("image path '", name, "' leaves the root folder");
  }
  return (fs::path(root) / relative).string();
}

PackRow make_row(const ManifestRow& row, std::size_t number, const Columns& columns,
                 const PackOptions& options) {
  PackRow result;
  result.row = &row;
  result.key = columns.key < 0 ? nine_digits(number) : cell(row, columns.key);
  result.problem = key_problem(result.key);
  if (!result.problem.empty()) return result;
  result.path = resolve(options.root, cell(row, columns.image), result.problem);
  for (const int column : columns.captions) {
    if (!result.caption.empty()) break;
    if (!strip(cell(row, column)).empty()) result.caption = cell(row, column);
  }
  if (result.problem.empty() && result.caption.empty()) result.problem = "no caption";
  if (result.problem.empty() && !is_utf8(result.caption)) result.problem = "caption is not UTF-8";
  return result;
}

/// Looks at the image's header.
void probe(PackRow& row) {
  std::error_code error;
  if (!fs::is_regular_file(row.path, error)) {
    row.problem = str("no file ", row.path);
    return;
  }
  const FileBytes file(row.path);
  std::vector<std::uint8_t> bytes(std::min<std::uint64_t>(kProbeBytes, file.size()));
  bytes.resize(file.read_at(0, bytes));
  auto info = probe_image(bytes);
  if (std::holds_alternative<BadSample>(info) && bytes.size() < file.size()) {
    bytes.resize(file.size());  // a JPEG's size can stand behind long metadata
    bytes.resize(file.read_at(0, bytes));
    info = probe_image(bytes);
  }
  if (const auto* bad = std::get_if<BadSample>(&info)) {
    row.problem = str(row.path, ": ", name_of(bad->reason), ": ", bad->message);
    return;
  }
  constexpr const char* kSuffixes[] = {"jpg", "png", "webp"};
  row.suffix = kSuffixes[static_cast<int>(std::get<ImageInfo>(info).format)];
}

std::vector<PackRow> make_rows(const Manifest& manifest, const Columns& columns,
                               const PackOptions& options) {
  std::vector<PackRow> rows;
  std::unordered_set<std::string> keys;
  for (std::size_t i = 0; i < manifest.rows.size(); ++i) {
    rows.push_back(make_row(manifest.rows[i], i, columns, options));
    if (rows.back().problem.empty() && !keys.insert(rows.back().key).second) {
      rows.back().problem = str("the key '", rows.back().key, "' came before");
    }
  }
  const int threads = options.threads > 0 ? options.threads : available_threads();
  parallel_for(std::ssize(rows), threads, [&](std::int64_t i) {
    PackRow& row = rows[static_cast<std::size_t>(i)];
    if (row.problem.empty()) probe(row);
  });
  return rows;
}

void refuse_bad(const std::vector<BadRow>& bad, const PackOptions& options, std::size_t rows) {
  if (bad.empty() || options.skip_bad) return;
  std::string text;
  for (std::size_t i = 0; i < std::min(kNamed, bad.size()); ++i) {
    text += str("; line ", bad[i].line, ": ", bad[i].message);
  }
  throw Error(str("manifest ", options.manifest, ": ", bad.size(), " of ", rows,
                  " rows cannot be packed", text, bad.size() > kNamed ? "; ..." : "",
                  "; --skip-bad leaves them out"));
}

void list_bad(const std::vector<BadRow>& bad, const std::string& out) {
  if (bad.empty()) return;
  std::string lines;
  for (const BadRow& row : bad) {
    const ordered_json line = {{"line", row.line}, {"message", row.message}};
    lines += line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  }
  write_file_atomically(out + "/bad_rows.jsonl", lines);
}

std::string json_of(const PackRow& row, const Manifest& manifest, const Columns& columns) {
  ordered_json object = {{"key", row.key}, {"caption", row.caption}};
  for (std::size_t c = 0; c < manifest.columns.size(); ++c) {
    if (static_cast<int>(c) == columns.key || manifest.columns[c] == "caption") continue;
    object[manifest.columns[c]] = row.row->cells[c];
  }
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

/// The label as a class number, when it is one.
std::optional<std::string> class_of(const PackRow& row, const Columns& columns) {
  if (columns.label < 0) return std::nullopt;
  const std::string_view text = strip(cell(*row.row, columns.label));
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return std::string(text);
}

void keep_where(Manifest& manifest, const PackOptions& options) {
  for (const std::string& text : options.where) {
    const std::size_t equals = std::min(text.find('='), text.size());
    const int column = manifest.column(text.substr(0, equals));
    if (column < 0 || equals == text.size()) {
      throw UsageError(
          str("--where '", text, "' is not COLUMN=VALUE with a column of ", options.manifest));
    }
    const std::string value = text.substr(equals + 1);
    std::erase_if(manifest.rows,
                  [&](const ManifestRow& row) { return cell(row, column) != value; });
  }
}

std::string provenance_of(const PackOptions& options, std::size_t samples) {
  ordered_json object = {{"command", "data pack"},
                         {"manifest", fs::path(options.manifest).filename().string()},
                         {"manifest_sha256", sha256_hex(read_file(options.manifest))},
                         {"samples", samples},
                         {"samples_per_shard", options.samples_per_shard},
                         {"seed", options.seed},
                         {"skip_bad", options.skip_bad},
                         {"key_column", options.key_column},
                         {"image_column", options.image_column},
                         {"caption_columns", options.caption_columns},
                         {"label_column", options.label_column}};
  if (!options.where.empty()) object["where"] = options.where;
  return object.dump();
}

}  // namespace

PackReport pack(const PackOptions& options, const Progress& progress) {
  Manifest manifest = read_manifest(options.manifest, options.format);
  keep_where(manifest, options);
  const Columns columns = columns_of(manifest, options);
  const std::vector<PackRow> rows = make_rows(manifest, columns, options);

  PackReport report;
  report.rows = std::ssize(rows);
  std::vector<std::pair<std::uint64_t, const PackRow*>> order;
  for (const PackRow& row : rows) {
    if (row.problem.empty()) {
      order.emplace_back(siphash(row.key, options.seed), &row);
    } else {
      report.bad.push_back({row.row->line, row.problem});
    }
  }
  refuse_bad(report.bad, options, rows.size());
  if (order.empty()) throw DataError(str("manifest ", options.manifest, ": no row to pack"));
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  report.samples = std::ssize(order);

  const ShardFolder folder{options.out, report.samples, options.samples_per_shard, options.threads,
                           provenance_of(options, order.size())};
  report.written = write_shard_folder(
      folder,
      [&](std::int64_t i, const std::function<void(std::string_view)>& sink) {
        const PackRow& row = *order[static_cast<std::size_t>(i)].second;
        TarWriter tar(sink);
        tar.add(row.key + "." + row.suffix, read_file(row.path));
        tar.add(row.key + ".txt", row.caption);
        if (const auto label = class_of(row, columns)) tar.add(row.key + ".cls", *label);
        tar.add(row.key + ".json", json_of(row, manifest, columns));
      },
      progress);
  list_bad(report.bad, options.out);
  return report;
}

}  // namespace plumbline
