// Zero-shot classifier rows on disk, by what they were computed from. Encoding 80 prompts of 1000
// classes costs more than scoring ImageNet's images with a small model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plumbline {

/// Files FOLDER/KEY.rows: the SHA-256 of the rest in hexadecimal, a line end, the rest. An entry is
/// written under a name of its own and renamed, so that readers, other runs and crashes never see
/// half of one; one that is damaged all the same counts as absent. The entries read longest ago
/// are removed once there are more than `most_bytes`.
class ClassifierCache {
 public:
  static constexpr std::int64_t kMostBytes = std::int64_t{256} << 20;
  explicit ClassifierCache(std::string folder, std::int64_t most_bytes = kMostBytes);
  [[nodiscard]] std::optional<std::string> find(const std::string& key) const;
  /// Makes the folder when it is missing. Throws Error naming path and reason.
  void keep(const std::string& key, std::string_view bytes) const;

 private:
  [[nodiscard]] std::string path_of(const std::string& key) const;
  void remove_oldest() const;

  std::string folder_;
  std::int64_t most_bytes_;
};

/// The folder that a suite's `classifier_cache` names: `auto` is
/// ${XDG_CACHE_HOME:-~/.cache}/plumbline/classifiers (none without either variable), `off` none.
/// Empty: no cache.
[[nodiscard]] std::string classifier_cache_folder(const std::string& setting);

}  // namespace plumbline
