// The index of a shard: where each sample stands and whether it can be used, so that the order of a
// run is known before an image is read. Kept in a sidecar file, SHARD.idx: a header of
// kHeaderBytes, then 48 bytes a sample, little-endian, usable samples first (each part in shard
// order), then for a remote shard the hashes of its blocks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/byte_source.h"
#include "data/sample_group.h"
#include "data/shard_access.h"
#include "plumbline/bad_sample.h"

namespace plumbline {

/// Which members make a sample usable.
struct IndexSettings {
  std::vector<std::string> image_keys = {"jpg", "png", "jpeg", "webp"};
  std::vector<std::string> text_keys = {"txt"};  ///< suffixes, one of which must not be empty
  bool json = false;                             ///< captions may come from the json member
  bool text = true;                              ///< false: no caption is wanted

  /// 0 for the default settings.
  [[nodiscard]] std::uint64_t hash() const;
};

struct IndexRecord {
  std::uint64_t key_hash = 0;      ///< SipHash-2-4 of the key
  std::uint64_t offset = 0;        ///< of the sample's first header
  std::uint32_t bytes = 0;         ///< to the end of its last member, with padding
  std::uint32_t image_offset = 0;  ///< of the image's data, from `offset`
  std::uint32_t image_bytes = 0;
  std::uint32_t text_bytes = 0;
  std::uint32_t json_bytes = 0;
  std::uint32_t ordinal = 0;            ///< of the sample in the shard, usable or not
  std::uint16_t width = 0, height = 0;  ///< 0: not looked at
  std::uint16_t bad = 0;                ///< 1 + BadSampleClass, 0: usable
  std::uint16_t members = 0;
};
static_assert(sizeof(IndexRecord) == 48);

enum class ShardVerdict : std::uint64_t { clean = 0, truncated_tar = 1, bad_header = 2 };

struct IndexHeader {
  std::array<char, 8> magic = {};
  std::uint64_t version = 0;
  std::uint64_t shard_bytes = 0;  ///< of the file as it is, compressed or not
  std::int64_t shard_mtime_ns = 0;
  std::uint64_t settings = 0;
  std::uint64_t members = 0, samples = 0, valid = 0;
  std::uint64_t split_keys = 0;  ///< keys that come again after another key
  ShardVerdict verdict = ShardVerdict::clean;
  std::uint64_t end_offset = 0;      ///< of the end blocks, or of the damage
  std::uint64_t trailing_bytes = 0;  ///< 1: something other than zero follows the end
  std::uint64_t sparse = 0;          ///< 1: read through a rewritten copy
  std::uint64_t content_hash = 0;    ///< of key hashes and usability, in shard order
  std::uint64_t compressed = 0;      ///< 1: offsets count in the unpacked tar
  std::uint64_t blocks = 0;          ///< of a remote shard: hashes that follow the records
  std::array<std::uint64_t, kBadSampleClasses> by_class = {};
};
inline constexpr std::size_t kIndexHeaderBytes = sizeof(IndexHeader);
static_assert(kIndexHeaderBytes == 216);

struct ShardIndex {
  IndexHeader header;
  std::vector<IndexRecord> records;         ///< usable ones first
  std::vector<std::uint64_t> block_hashes;  ///< of a remote shard's bytes
};

/// Scans the headers of a shard; a damaged end is recorded as the verdict, not thrown. A remote
/// shard is read whole, unless `raw`, its bytes as they are, is given.
[[nodiscard]] ShardIndex build_index(const std::string& path, const IndexSettings& settings,
                                     const ShardAccess& access,
                                     std::shared_ptr<const FileBytes> raw = nullptr);

/// Usable samples first, counts and hashes by what the records say. After records changed.
void finish_index(ShardIndex& index);

/// SHARD.idx, or in `index_dir` with a hash of the shard's folder; settings other than the default
/// have their hash in the name, so that runs with different captions do not rebuild in turn. Empty
/// for a remote shard without `index_dir`: its index can only be kept in memory.
[[nodiscard]] std::string index_path(const std::string& shard, const IndexSettings& settings,
                                     const std::string& index_dir);

/// Under a name of its own first, then renamed. Throws Error when the folder cannot be written.
void write_index(const std::string& path, const ShardIndex& index);

/// One shard of a source. In memory its records stay in the sidecar file when there is one.
class IndexedShard {
 public:
  /// Reads the sidecar when it fits the shard's size, time and settings, else scans the shard and,
  /// with `write`, leaves a sidecar; where that fails the records stay in memory.
  /// Nobody can see from outside whether a remote shard changed: its sidecar is trusted, and what
  /// is read later is compared with the hashes in it.
  IndexedShard(std::string path, const IndexSettings& settings, const std::string& index_dir,
               std::shared_ptr<const ShardAccess> access, bool write);
  /// By its sidecar alone; nothing when there is none that fits the shard.
  [[nodiscard]] static std::optional<IndexedShard> find(std::string path,
                                                        const IndexSettings& settings,
                                                        const std::string& index_dir,
                                                        std::shared_ptr<const ShardAccess> access);
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const IndexHeader& header() const { return header_; }
  /// Whether the index could only be kept in memory although it should have been written.
  [[nodiscard]] bool unwritten() const { return unwritten_; }
  /// Appends records [first, first + count). Throws DataError when the sidecar changed meanwhile.
  void read(std::uint64_t first, std::uint64_t count, std::vector<IndexRecord>& out) const;
  /// Its tar bytes. A remote shard that takes {offset} is read by ranges unless there is a cache.
  [[nodiscard]] std::shared_ptr<const ByteSource> open() const;

 private:
  IndexedShard(std::string path, std::string index_path, std::shared_ptr<const ShardAccess> access)
      : path_(std::move(path)), index_path_(std::move(index_path)), access_(std::move(access)) {}
  [[nodiscard]] bool read_header(const IndexSettings& settings);
  [[nodiscard]] RemoteStamp remote_stamp() const;

  std::string path_;
  std::string index_path_;
  std::shared_ptr<const ShardAccess> access_;
  IndexHeader header_;
  std::vector<IndexRecord> records_;
  std::vector<std::uint64_t> block_hashes_;
  bool in_memory_ = false;
  bool unwritten_ = false;
};

}  // namespace plumbline
