// Small runs of a loader that several tests share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plumbline/data.h"
#include "tests/data/fixture.h"

namespace plumbline {

/// Three shards of 40 samples: 0.tar, 1.tar, 2.tar.
void write_shards(const TempFolder& folder);

/// A source "pictures" of these shards, 4 lanes.
[[nodiscard]] DataOptions shard_options(const TempFolder& folder);

/// A source "made-up" of 1000 samples.
[[nodiscard]] DataOptions synthetic_options(const char* kind);

/// Seed 42, global batch 16, 24 x 24 pixels, ByteTokenizer.
[[nodiscard]] LoaderContext context_of(int rank = 0, int world = 1);

struct Delivered {
  std::vector<std::string> keys;
  LoaderState state;
};
[[nodiscard]] Delivered deliver(const DataOptions& options, int steps);

/// Key and hash of all that stands in each row of the global batches, over `world` ranks.
[[nodiscard]] std::vector<std::string> rows_of(
    const DataOptions& options, int steps, int world,
    const std::optional<LoaderState>& from = std::nullopt, LoaderState* end = nullptr);

}  // namespace plumbline
