// `data match` and `data filter`: samples chosen by their captions or by scores.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/phrase_match.h"
#include "data/sample_copy.h"

namespace plumbline {

struct MatchOptions : ToolInput {
  std::string names;  ///< file, see read_phrases()
  PhraseOptions phrases;
  std::string multi = "drop";  ///< captions of several classes: drop | first | rows | multi-hot
  std::string out;
  std::int64_t samples_per_shard = 1000;
};

struct MatchReport {
  std::int64_t samples = 0;  ///< looked at
  std::int64_t matched = 0;  ///< with at least one class
  std::int64_t several = 0;  ///< of them, with more than one
  std::int64_t rows = 0;     ///< written
  std::vector<std::int64_t> per_class;
  ShardFolderReport written;
};

/// Substring matching of captions with class names (Fang et al. 2022, arXiv:2205.01397, section
/// 3): matched samples are copied in their order, with the class as KEY.cls. `rows` writes a sample
/// of several classes once for each, `first` with its lowest class, `multi-hot` once with all of
/// them in KEY.cls, spaces between. OUT/classes.csv has a line a class: number, first name,
/// samples. Throws UsageError when nothing matches.
[[nodiscard]] MatchReport match_captions(const MatchOptions& options,
                                         const Progress& progress = {});

struct FilterOptions : ToolInput {
  std::string scores;              ///< CSV with the columns key and score
  std::optional<double> keep_top;  ///< share of the samples with a score
  std::optional<double> min;       ///< keeps score >= min
  std::string out;
  std::int64_t samples_per_shard = 1000;
};

struct FilterReport {
  std::int64_t samples = 0, unscored = 0, kept = 0;
  double lowest = 0;  ///< score that was kept
  ShardFolderReport written;
};

/// Copies the samples with the highest scores, ties by key, in the order of the shards; those
/// without a score are left out and counted. Throws UsageError unless exactly one of keep_top and
/// min is given, when a key has two scores or stands twice in the shards, and when nothing is kept.
[[nodiscard]] FilterReport filter_by_score(const FilterOptions& options,
                                           const Progress& progress = {});

}  // namespace plumbline
