// Chosen samples of sources to a new folder of shards.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/shard_writer.h"
#include "data/source.h"

namespace plumbline {

struct ChosenSample {
  std::uint32_t source = 0;
  std::uint64_t ordinal = 0;
  std::vector<std::int64_t> labels = {};  ///< written as KEY.cls in place of one that is there
  int copy = 0;                           ///< > 0: the key gets "-COPY", so that it stays unique
};

/// Writes the samples in this order, members as they are. folder.samples is theirs.
[[nodiscard]] ShardFolderReport copy_samples(const std::vector<std::unique_ptr<Source>>& sources,
                                             const std::vector<ChosenSample>& chosen,
                                             const ShardFolder& folder, const Progress& progress);

/// Opens one source for a tool. `json`: captions may also stand in json members.
struct ToolInput {
  SourceOptions source;
  std::string index_dir;
  bool allow_pipe = false;
  int threads = 0;  ///< 0: all of this process
};
[[nodiscard]] std::vector<std::unique_ptr<Source>> open_input(const ToolInput& input);

/// A sample with its bytes, as tools look at it.
struct LoadedSample {
  SampleRef ref;
  std::vector<std::uint8_t> bytes;
  SampleParts parts;
  std::optional<BadSample> bad;
};
void load_sample(const Source& source, const SampleRef& ref, LoadedSample& out);

/// Calls visit(ordinal, sample, thread's piece) for every sample of `source`, pieces in parallel, a
/// piece in order. Progress counts samples.
void visit_samples(
    const Source& source, int threads, const Progress& progress,
    const std::function<void(std::uint64_t ordinal, const LoadedSample& sample)>& visit);

}  // namespace plumbline
