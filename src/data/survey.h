// What the sources of a run hold, by their names and indexes alone: no shard is opened, nothing is
// written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plumbline/data.h"

namespace plumbline {

struct SourceSurvey {
  std::string name;
  std::int64_t shards = 0;   ///< 0: a table, or synthetic
  std::int64_t indexed = 0;  ///< have an index that fits them
  std::int64_t samples = 0;  ///< usable ones of the indexed shards; of a synthetic source all
  std::int64_t bytes = 0;    ///< of the indexed shards
  double caption_bytes = 0;  ///< mean of the first indexed shard's text members; 0: not known
};

/// Throws UsageError for shards or tables that are not there, as training would.
[[nodiscard]] std::vector<SourceSurvey> survey_sources(const DataOptions& options);

}  // namespace plumbline
