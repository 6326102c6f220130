// `data index` and `data check`.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/shard_writer.h"
#include "plumbline/data.h"

namespace plumbline {

struct IndexReport {
  std::int64_t shards = 0, members = 0, samples = 0, usable = 0, split_keys = 0;
  std::array<std::int64_t, kBadSampleClasses> by_class = {};  ///< damaged shards count once
  std::vector<std::string> damaged;                           ///< "PATH at byte N: why"
};

struct IndexOptions {
  SourceOptions source;
  std::string index_dir;
  bool allow_pipe = false;
  int threads = 0;  ///< 0: all of this process
};

/// Writes the sidecar index of every shard of the source (fresh ones are kept). Throws UsageError
/// for missing shards and for remote ones without index_dir, Error when a sidecar cannot be
/// written.
[[nodiscard]] IndexReport index_shards(const IndexOptions& options, const Progress& progress = {});

struct CheckOptions : IndexOptions {
  DecodeLimits limits;
  bool decode = false;  ///< every pixel, not only headers
  bool update = false;  ///< bad samples are marked in the index: later runs leave them out
};

struct CheckReport : IndexReport {
  std::int64_t jpeg = 0, png = 0, webp = 0;
  std::int64_t image_bytes = 0, pixels = 0;
  std::vector<std::string> messages;  ///< of the first bad samples, 20 at most
  std::vector<std::string>
      size_mismatches;  ///< shards whose sizes.json or _stats.json says otherwise
  [[nodiscard]] bool clean() const;
};

/// Reads every sample: its image's header (or pixels) and its caption.
[[nodiscard]] CheckReport check_shards(const CheckOptions& options, const Progress& progress = {});

}  // namespace plumbline
