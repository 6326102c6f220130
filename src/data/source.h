// One source of a run: its usable samples by ordinal, whether they stand in shards or are made up.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "data/shard_index.h"
#include "plumbline/data.h"

namespace plumbline {

/// Where a sample stands. Made-up ones have their ordinal in record.offset.
struct SampleRef {
  std::uint32_t shard = 0;
  IndexRecord record;
};

/// A sample taken apart; spans point into the bytes that were read. Reused from row to row.
struct SampleParts {
  std::string key;
  std::span<const std::uint8_t> bytes;
  std::span<const std::uint8_t> image;  ///< encoded; empty: `pixels` holds it
  Image pixels;
  SampleGroup group;  ///< offsets into `bytes`
};

/// Immutable after construction but for caches; every function may be called by many threads.
class Source {
 public:
  virtual ~Source() = default;
  [[nodiscard]] virtual const std::string& name() const = 0;
  /// Usable samples.
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  /// Appends the samples [first, first + count).
  virtual void find(std::uint64_t first, std::uint64_t count,
                    std::vector<SampleRef>& out) const = 0;
  /// Fills `out` (record.bytes bytes). Throws DataError when the system fails.
  virtual void read(const SampleRef& ref, std::span<std::uint8_t> out) const = 0;
  /// Takes `bytes` apart. Throws DataError when they are not the indexed sample.
  [[nodiscard]] virtual std::optional<BadSample> take_apart(const SampleRef& ref,
                                                            std::span<const std::uint8_t> bytes,
                                                            SampleParts& parts) const = 0;
  /// The caption of the sample at position `g`, or why there is none.
  [[nodiscard]] virtual std::variant<std::string, BadSample> caption(const SampleRef& ref,
                                                                     const SampleParts& parts,
                                                                     std::uint64_t seed,
                                                                     std::uint64_t g) const = 0;
  /// The class of the sample at position `g`, in [0, classes), or why there is none. Of several one
  /// is drawn.
  [[nodiscard]] virtual std::variant<std::int64_t, BadSample> label(const SampleRef& ref,
                                                                    const SampleParts& parts,
                                                                    std::int64_t classes,
                                                                    std::uint64_t seed,
                                                                    std::uint64_t g) const = 0;
  [[nodiscard]] virtual std::string key(const SampleRef& ref) const = 0;
  /// Shard and byte, for messages and the quarantine.
  [[nodiscard]] virtual const std::string& shard(const SampleRef& ref) const = 0;
  /// SHA-256 of what decides which samples there are and in which order.
  [[nodiscard]] virtual std::string fingerprint() const = 0;
  /// What the index knows to be bad, by class; shards cut short count under their verdict.
  [[nodiscard]] virtual std::array<std::int64_t, kBadSampleClasses> excluded() const { return {}; }
  /// Readers that wait for a command give up at once, with an Error; for good.
  virtual void stop() const {}
  /// Commands that were started again.
  [[nodiscard]] virtual std::int64_t retries() const { return 0; }
};

/// Opens all sources: expands shard lists, reads or builds indexes on `threads` threads (rank r of
/// `world` begins at another shard, so that ranks share the work). Exclusions and damaged shards go
/// to `warn`. Throws UsageError for missing shards and for a source more than half unusable,
/// DataError for one without a usable sample.
[[nodiscard]] std::vector<std::unique_ptr<Source>> open_sources(const DataOptions& options,
                                                                const LoaderContext& context,
                                                                int threads);

/// For sources with a manifest: a row is a sample, read from its file. Rows without a file or a
/// caption are excluded and told to `warn`. Throws UsageError for missing columns, paths that leave
/// the root, more than half of the rows unusable.
[[nodiscard]] std::unique_ptr<Source> make_manifest_source(
    const SourceOptions& options, int threads, const std::function<void(const std::string&)>& warn);

/// For synthetic sources. Throws UsageError for kinds and sizes that cannot be.
[[nodiscard]] std::unique_ptr<Source> make_synthetic_source(const SourceOptions& options);

}  // namespace plumbline
