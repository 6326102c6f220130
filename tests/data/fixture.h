// What the data tests share: a folder that goes away, shards written member by member, a tokenizer
// without a vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plumbline/data.h"
#include "plumbline/tokenizer.h"

namespace plumbline {

class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, std::string_view content) const;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

using Members = std::vector<std::pair<std::string, std::string>>;  ///< name, content

/// A whole tar with end blocks.
[[nodiscard]] std::string tar_of(const Members& members);

/// A small JPEG, different for each ordinal.
[[nodiscard]] std::string jpeg_of(std::uint64_t ordinal, int size = 40);

/// `count` samples with keys PREFIX000000, ... , a JPEG and a caption each.
[[nodiscard]] Members samples_of(const std::string& prefix, int count, int first = 0);

/// Ids are the bytes of the caption; captions that begin with byte FF are refused.
class ByteTokenizer final : public Tokenizer {
 public:
  [[nodiscard]] int context_length() const override { return 16; }
  [[nodiscard]] int vocab_size() const override { return 256; }
  int encode(std::string_view caption, std::span<std::int32_t> ids_L) const override;
};

}  // namespace plumbline
