// `data pack`: a table of images and captions to shards.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/manifest.h"
#include "data/shard_writer.h"

namespace plumbline {

struct PackOptions {
  std::string manifest;
  ManifestOptions format;
  std::string root;  ///< folder that image paths are relative to
  std::string out;
  std::string key_column = "key";  ///< absent: the row's number, 9 digits
  std::string image_column = "filepath";
  std::vector<std::string> caption_columns = {"caption"};  ///< the first non-empty cell
  std::string label_column = "label";                      ///< a number: also written as .cls
  std::vector<std::string> where;  ///< COLUMN=VALUE; rows of which one differs are passed over
  std::int64_t samples_per_shard = 1000;
  std::uint64_t seed = 0;  ///< of the order
  bool skip_bad = false;
  int threads = 0;
};

struct BadRow {
  std::int64_t line = 0;
  std::string message;
};

struct PackReport {
  std::int64_t rows = 0;
  std::int64_t samples = 0;
  std::vector<BadRow> bad;  ///< left out; in the order of the table
  ShardFolderReport written;
};

/// Rows in the order of SipHash(key), so that each shard is a random sample: KEY.jpg|png|webp
/// (bytes untouched, suffix by signature), KEY.txt, KEY.cls, KEY.json with all other columns. Bad
/// rows (no file, no image, no caption, a key twice or with a dot) are listed in
/// OUT/bad_rows.jsonl; without `skip_bad` they are a DataError naming the first five, before
/// anything is written. Images must be regular files inside `root`.
[[nodiscard]] PackReport pack(const PackOptions& options, const Progress& progress = {});

}  // namespace plumbline
