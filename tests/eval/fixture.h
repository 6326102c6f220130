// Small test sets in temporary folders.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace plumbline::test {

/// A fresh folder, removed at the end.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const {
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

/// Makes the folders above.
void write_file(const std::filesystem::path& path, const std::string& content);

/// A PNG of width x height pseudo-random RGB pixels that depend on `seed` alone.
[[nodiscard]] std::string make_png(int width, int height, std::uint64_t seed);

struct TarMember {
  std::string name;
  std::string content;
};
void write_tar(const std::filesystem::path& path, const std::vector<TarMember>& members);

/// A webdataset folder with split test: sample i has label labels[i] and a PNG of seed i; `shards`
/// tars. Key s%07d.
void write_webdataset(const std::filesystem::path& root, const std::vector<std::string>& names,
                      const std::vector<int>& labels, int shards);

/// Assets for an ImageNet of `classes` classes: wnids n00000000.., names "name 0"..; in_r: 1 and 3;
/// in_a: 3 and 4.
void write_assets(const std::filesystem::path& root, int classes);

}  // namespace plumbline::test
