// Members of a shard to samples: adjacent members of one key (webdataset's rule).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tar_reader.h"

namespace plumbline {

struct KeyAndSuffix {
  std::string_view key;  ///< with the directory
  std::string suffix;    ///< after the first dot of the basename, lower case
};

/// Splits ^((?:.*/|)[^.]+)[.]([^/]*)$. Nothing for names that are no sample's: without a dot, with
/// a basename that starts with one, below a first component like __meta__.
[[nodiscard]] std::optional<KeyAndSuffix> split_name(std::string_view name);

struct GroupMember {
  std::string suffix;
  std::uint64_t offset = 0;  ///< of the data
  std::uint64_t size = 0;
};

/// One sample as it stands in the shard.
struct SampleGroup {
  std::string key;
  std::uint64_t offset = 0;  ///< of its first header
  std::uint64_t end = 0;     ///< after the padding of its last member
  std::vector<GroupMember> members;

  /// The first of `suffixes` that is there, or null.
  [[nodiscard]] const GroupMember* find(const std::vector<std::string>& suffixes) const;
  [[nodiscard]] const GroupMember* find(std::string_view suffix) const;
};

/// Runs of adjacent members of one key; a repeated suffix starts a new sample. Members that are no
/// sample's are passed over.
class GroupReader {
 public:
  explicit GroupReader(TarReader& tar) : tar_(tar) {}
  /// The next sample, or nothing at the end. A TarError passes through; the group that was open
  /// then is dropped, for nobody knows whether it was complete.
  [[nodiscard]] std::optional<SampleGroup> next();
  /// Members seen, of every kind.
  [[nodiscard]] std::uint64_t members() const { return members_; }

 private:
  TarReader& tar_;
  SampleGroup open_;
  bool ended_ = false;
  std::uint64_t members_ = 0;
};

/// The one sample whose headers and data are `bytes`; offsets count from their beginning. Throws
/// TarError when they are no sample. `name` stands for the shard in messages.
[[nodiscard]] SampleGroup parse_group(std::span<const std::uint8_t> bytes, const std::string& name);

}  // namespace plumbline
