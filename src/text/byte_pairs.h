// Byte-pair encoding with CLIP's vocabulary (Radford et al. 2021; GPT-2's byte symbols).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace plumbline {

/// ids: 256 byte symbols in GPT-2's order, the same with the end-of-word mark, 48894 merges,
/// <start_of_text>, <end_of_text>.
class BytePairs {
 public:
  static constexpr int kMerges = 48894;
  static constexpr int kStartOfText = 512 + kMerges;
  static constexpr int kEndOfText = kStartOfText + 1;
  static constexpr int kVocabSize = kEndOfText + 1;

  /// Reads bpe_simple_vocab_16e6.txt.gz. Throws DataError when the file is another one.
  explicit BytePairs(const std::string& path);

  /// Appends the ids of one word (UTF-8, not empty): the pair of lowest rank is merged at all its
  /// places from the left, until none is left. Words are cached a thread.
  void append(std::string_view word, std::vector<std::int32_t>& ids) const;

 private:
  struct Merge {
    int rank;
    std::int32_t id;
  };
  void merge_word(std::string_view word, std::vector<std::int32_t>& symbols) const;

  std::uint64_t serial_;  ///< tells the words of this vocabulary apart in the caches of threads
  std::int32_t byte_ids_[256];
  std::unordered_map<std::uint64_t, Merge> merges_;  ///< first id << 32 | second id
};

}  // namespace plumbline
