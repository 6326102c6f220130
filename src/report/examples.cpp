#include "report/examples.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <tuple>

#include "plumbline/error.h"
#include "report/csv.h"

namespace plumbline {
namespace {

constexpr std::size_t kCandidates = 40;

/// FNV-1a: an order that neither file names nor classes decide.
std::uint64_t hash_of(const std::string& key) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : key) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  }
  return hash;
}

std::int32_t read_class(const CsvTable& csv, std::size_t row, std::size_t column,
                        std::int64_t classes) {
  const std::string& text = csv.rows[row][column];
  std::int32_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value >= classes) {
    throw DataError(str(csv.path, ":", csv.line_of_row[row], ": '", csv.columns[column], "' is '",
                        text, "'; classes are 0 to ", classes - 1));
  }
  return value;
}

/// The first kExamples of the candidates whose picture is small, then the smallest of the others.
std::vector<Example> keep_small(std::vector<Example> candidates) {
  std::erase_if(candidates, [](const Example& e) {
    return media_type(e.bytes).empty() || e.bytes.size() > kPictureBytesMax;
  });
  std::stable_sort(candidates.begin(), candidates.end(), [](const Example& a, const Example& b) {
    return std::max(a.bytes.size(), kPictureBytes) < std::max(b.bytes.size(), kPictureBytes);
  });
  if (candidates.size() > kExamples) candidates.resize(kExamples);
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Example& a, const Example& b) { return a.rank > b.rank; });
  return candidates;
}

void read_bytes(const SetAccuracy& set, const PictureReader& read_pictures, SetExamples& out) {
  std::vector<std::string> keys;
  for (const auto* list : {&out.right, &out.wrong}) {
    for (const Example& e : *list) keys.push_back(e.key);
  }
  const PictureSource source{set.name,  set.layout,  set.path,
                             set.split, set.variant, set.class_list};
  const std::vector<std::string> bytes = read_pictures(source, keys);
  require(bytes.size() == keys.size(), "one picture for each key");
  std::size_t next = 0;
  for (auto* list : {&out.right, &out.wrong}) {
    for (Example& e : *list) e.bytes = bytes[next++];
    *list = keep_small(std::move(*list));
  }
  if (out.right.empty() && out.wrong.empty()) out.note = "no picture of the set was found";
}

}  // namespace

std::vector<Example> read_predictions(const std::string& path, std::int64_t classes) {
  const CsvTable csv = read_csv(path);
  const auto key = csv.column("key"), target = csv.column("target"), first = csv.column("pred1");
  const auto cluster = csv.column("cluster");
  if (!key || !target || !first) {
    throw DataError(str(path, ":1: needs the columns key, target and pred1"));
  }
  std::vector<Example> examples;
  for (std::size_t i = 0; i < csv.rows.size(); ++i) {
    Example example;
    example.key = csv.rows[i][*key];
    example.target = read_class(csv, i, *target, classes);
    for (std::size_t c = *first; c < csv.columns.size() && csv.columns[c].starts_with("pred");
         ++c) {
      example.predictions.push_back(read_class(csv, i, c, classes));
    }
    if (cluster) example.cluster = csv.rows[i][*cluster];
    const auto found =
        std::find(example.predictions.begin(), example.predictions.end(), example.target);
    example.rank = static_cast<std::size_t>(found - example.predictions.begin()) + 1;
    examples.push_back(std::move(example));
  }
  return examples;
}

std::vector<Example> order_candidates(const std::vector<Example>& predictions, bool right) {
  std::vector<const Example*> kind;
  for (const Example& e : predictions) {
    if ((e.rank == 1) == right) kind.push_back(&e);
  }
  std::sort(kind.begin(), kind.end(), [](const Example* a, const Example* b) {
    return std::tuple(hash_of(a->key), a->key) < std::tuple(hash_of(b->key), b->key);
  });
  std::map<std::pair<std::size_t, std::int32_t>, std::size_t> seen;  // (rank, class) -> count
  std::vector<std::pair<std::size_t, const Example*>> turns;
  for (const Example* e : kind) turns.emplace_back(seen[{e->rank, e->target}]++, e);
  std::stable_sort(turns.begin(), turns.end(), [](const auto& a, const auto& b) {
    return std::tuple(b.second->rank, a.first) < std::tuple(a.second->rank, b.first);
  });
  std::vector<Example> ordered;
  for (const auto& [turn, e] : turns) ordered.push_back(*e);
  return ordered;
}

std::vector<SetExamples> pick_examples(const Evaluation& evaluation,
                                       const PictureReader& read_pictures) {
  std::vector<SetExamples> all;
  for (const SetAccuracy& set : evaluation.sets) {
    if (set.kind == "retrieval" || set.kind == "multilabel") continue;  // no class a picture
    SetExamples& out = all.emplace_back();
    out.set = set.name;
    const std::string path = evaluation.folder + "/predictions/" + set.name + ".csv";
    if (!std::filesystem::exists(path)) {
      out.note = "no file " + path;
      continue;
    }
    const std::vector<Example> predictions = read_predictions(path, set.classes);
    out.right = order_candidates(predictions, true);
    out.wrong = order_candidates(predictions, false);
    for (auto* list : {&out.right, &out.wrong}) {
      if (list->size() > kCandidates) list->resize(kCandidates);
    }
    try {
      read_bytes(set, read_pictures, out);
    } catch (const Error& e) {
      out.right.clear();
      out.wrong.clear();
      out.note = e.what();
    }
  }
  return all;
}

std::string media_type(const std::string& bytes) {
  if (bytes.starts_with("\x89PNG")) return "image/png";
  if (bytes.starts_with("\xFF\xD8\xFF")) return "image/jpeg";
  if (bytes.starts_with("GIF8")) return "image/gif";
  if (bytes.starts_with("RIFF") && bytes.substr(8, 4) == "WEBP") return "image/webp";
  return "";
}

}  // namespace plumbline
