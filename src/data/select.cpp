#include "data/select.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/file.h"
#include "data/manifest.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

std::string provenance_of(const Source& source, const char* command, Json more,
                          const std::string& file, std::int64_t samples_per_shard) {
  Json object = {{"command", command},
                 {"source", {{"samples", source.size()}, {"fingerprint", source.fingerprint()}}},
                 {"file_sha256", sha256_hex(read_file(file))},
                 {"samples_per_shard", samples_per_shard}};
  object.update(more);
  return object.dump();
}

/// The classes of each sample.
std::vector<std::vector<std::int64_t>> classes_of(const Source& source, const MatchOptions& options,
                                                  const PhraseMatcher& matcher,
                                                  const Progress& progress) {
  std::vector<std::vector<std::int64_t>> classes(source.size());
  visit_samples(source, options.threads, progress,
                [&](std::uint64_t ordinal, const LoadedSample& sample) {
                  if (sample.bad) return;
                  const auto caption = source.caption(sample.ref, sample.parts, 0, ordinal);
                  if (const auto* text = std::get_if<std::string>(&caption)) {
                    classes[ordinal] = matcher.find(*text);
                  }
                });
  return classes;
}

void write_class_table(const std::string& out, const std::vector<std::vector<std::string>>& names,
                       const std::vector<std::int64_t>& counts) {
  std::string table = "class,name,samples\n";
  for (std::size_t c = 0; c < names.size(); ++c) {
    std::string name = names[c].front();
    for (std::size_t at = name.find('"'); at != std::string::npos; at = name.find('"', at + 2)) {
      name.insert(at, 1, '"');
    }
    table += str(c, ",\"", name, "\",", counts[c], "\n");
  }
  write_file_atomically(out + "/classes.csv", table);
}

struct Scored {
  double score;
  std::string key;
  std::uint64_t ordinal;
};

std::unordered_map<std::string, double> read_scores(const std::string& path) {
  const Manifest table = read_manifest(path, {"csv", false, {}});
  const int key = table.column("key"), score = table.column("score");
  if (key < 0 || score < 0) {
    throw UsageError(str("scores ", path, ": the columns key and score are needed"));
  }
  std::unordered_map<std::string, double> scores;
  for (const ManifestRow& row : table.rows) {
    const std::string& text = row.cells[static_cast<std::size_t>(score)];
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
      throw UsageError(str(path, ":", row.line, ": score '", text, "' is no number"));
    }
    if (!scores.emplace(row.cells[static_cast<std::size_t>(key)], value).second) {
      throw UsageError(str(path, ":", row.line, ": a second score for the key '",
                           row.cells[static_cast<std::size_t>(key)], "'"));
    }
  }
  return scores;
}

std::vector<Scored> join_scores(const Source& source,
                                const std::unordered_map<std::string, double>& scores) {
  std::vector<Scored> scored;
  std::unordered_map<std::string, std::uint64_t> seen;
  std::vector<SampleRef> refs;
  for (std::uint64_t i = 0; i < source.size(); ++i) {
    refs.clear();
    source.find(i, 1, refs);
    const std::string key = source.key(refs[0]);
    const auto found = scores.find(key);
    if (found == scores.end()) continue;
    if (!seen.emplace(key, i).second) {
      throw UsageError(str("the key '", key, "' stands twice in the shards (again in ",
                           source.shard(refs[0]), "): its score cannot be told"));
    }
    scored.push_back({found->second, key, i});
  }
  return scored;
}

void keep_best(std::vector<Scored>& scored, const FilterOptions& options) {
  std::sort(scored.begin(), scored.end(), [](const Scored& a, const Scored& b) {
    return a.score != b.score ? a.score > b.score : a.key < b.key;
  });
  std::size_t n = scored.size();
  if (options.keep_top) {
    n = static_cast<std::size_t>(std::llround(*options.keep_top * static_cast<double>(n)));
  } else {
    n = static_cast<std::size_t>(
        std::find_if(scored.begin(), scored.end(),
                     [&](const Scored& s) { return s.score < *options.min; }) -
        scored.begin());
  }
  scored.resize(n);
}

}  // namespace

MatchReport match_captions(const MatchOptions& options, const Progress& progress) {
  if (options.multi != "drop" && options.multi != "first" && options.multi != "rows" &&
      options.multi != "multi-hot") {
    throw UsageError(str("multi: '", options.multi, "' is none of drop, first, rows, multi-hot"));
  }
  const auto names = read_phrases(options.names);
  const PhraseMatcher matcher(names, options.phrases);
  const auto sources = open_input(options);
  const auto classes = classes_of(*sources[0], options, matcher, progress);
  MatchReport report;
  report.per_class.resize(names.size());
  std::vector<ChosenSample> chosen;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const std::size_t n = classes[i].size();
    report.matched += n > 0 ? 1 : 0;
    report.several += n > 1 ? 1 : 0;
    const std::size_t rows = n > 1 && options.multi == "drop"    ? 0
                             : n > 1 && options.multi == "first" ? 1
                                                                 : n;
    for (std::size_t k = 0; k < rows; ++k) {
      ++report.per_class[static_cast<std::size_t>(classes[i][k])];
      if (options.multi != "multi-hot") {
        chosen.push_back({0, i, {classes[i][k]}, static_cast<int>(k)});
      } else if (k == 0) {
        chosen.push_back({0, i, classes[i], 0});
      }
    }
  }
  report.samples = std::ssize(classes);
  report.rows = std::ssize(chosen);
  if (chosen.empty()) {
    throw UsageError(str("no caption of ", report.samples, " samples holds exactly one of the ",
                         names.size(), " names of ", options.names));
  }
  const Json more = {{"fold", options.phrases.fold},
                     {"word", options.phrases.word},
                     {"longest", options.phrases.longest},
                     {"multi", options.multi}};
  const ShardFolder folder{
      options.out, report.rows, options.samples_per_shard, options.threads,
      provenance_of(*sources[0], "data match", more, options.names, options.samples_per_shard)};
  report.written = copy_samples(sources, chosen, folder, progress);
  write_class_table(options.out, names, report.per_class);
  return report;
}

FilterReport filter_by_score(const FilterOptions& options, const Progress& progress) {
  if (options.keep_top.has_value() == options.min.has_value()) {
    throw UsageError("filter: give either --keep-top or --min");
  }
  if (options.keep_top && !(*options.keep_top > 0 && *options.keep_top <= 1)) {
    throw UsageError(str("--keep-top: ", *options.keep_top, " is not in (0, 1]"));
  }
  const auto scores = read_scores(options.scores);
  const auto sources = open_input(options);
  std::vector<Scored> scored = join_scores(*sources[0], scores);
  FilterReport report;
  report.samples = static_cast<std::int64_t>(sources[0]->size());
  report.unscored = report.samples - std::ssize(scored);
  keep_best(scored, options);
  report.kept = std::ssize(scored);
  if (scored.empty()) throw UsageError(str("no sample of ", report.samples, " is kept"));
  report.lowest = scored.back().score;
  std::sort(scored.begin(), scored.end(),
            [](const Scored& a, const Scored& b) { return a.ordinal < b.ordinal; });
  std::vector<ChosenSample> chosen;
  for (const Scored& s : scored) chosen.push_back({0, s.ordinal});
  Json more = Json::object();
  if (options.keep_top) more["keep_top"] = *options.keep_top;
  if (options.min) more["min"] = *options.min;
  const ShardFolder folder{
      options.out, report.kept, options.samples_per_shard, options.threads,
      provenance_of(*sources[0], "data filter", more, options.scores, options.samples_per_shard)};
  report.written = copy_samples(sources, chosen, folder, progress);
  return report;
}

}  // namespace plumbline
