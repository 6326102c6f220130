// `data transcode`: shards whose images decode faster.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/sample_copy.h"

namespace plumbline {

struct TranscodeOptions : ToolInput {
  std::string out;
  int resize = 0;       ///< > 0: images with a longer short side are scaled down to it
  int quality = 95;     ///< of resized images
  bool verify = false;  ///< decode both and compare, where pixels must not change
  DecodeLimits limits;
};

struct TranscodeReport {
  std::int64_t samples = 0;
  std::int64_t recoded = 0;  ///< progressive or arithmetic to baseline, the same pixels
  std::int64_t resized = 0;
  std::int64_t kept = 0;                           ///< byte for byte as they were
  std::int64_t bytes_before = 0, bytes_after = 0;  ///< of images
  std::vector<std::string> messages;               ///< images kept because they are corrupt
  std::vector<std::string> damaged;                ///< shards that were cut or broken
  std::int64_t shards = 0, finished_before = 0;
};

/// A shard of the same name for each shard, with the same samples in the same order; counts are of
/// the shards written in this call. Corrupt images are copied as they are and told. `resize` is
/// bicubic, JPEG 4:2:0, and changes pixels and suffix. The same arguments give the same bytes.
/// Throws UsageError when two shards have one name, InternalError when `verify` finds a difference.
[[nodiscard]] TranscodeReport transcode(const TranscodeOptions& options,
                                        const Progress& progress = {});

}  // namespace plumbline
