// Finds class names in captions: all phrases at once, in one pass (Aho and Corasick 1975).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace plumbline {

struct PhraseOptions {
  bool fold = false;    ///< lower case on both sides
  bool word = true;     ///< no letter or digit directly before or behind a match
  bool longest = true;  ///< a match that overlaps a longer one does not count
};

/// Phrases are literal; several may belong to one class. Immutable; find() is for many threads.
class PhraseMatcher {
 public:
  /// phrases[c] are the names of class c. Throws UsageError for a class without one.
  PhraseMatcher(const std::vector<std::vector<std::string>>& phrases, const PhraseOptions& options);
  /// The classes found in `caption`, ascending, each once. Bytes that are not UTF-8 match nothing.
  [[nodiscard]] std::vector<std::int64_t> find(std::string_view caption) const;

 private:
  struct Node {
    std::unordered_map<char32_t, std::int32_t> next;
    std::int32_t fail = 0;
    std::int32_t shorter = -1;  ///< the next node on the fail path at which a phrase ends
    std::size_t depth = 0;
    std::vector<std::int64_t> classes;  ///< of the phrase that ends here
  };
  struct Match {
    std::size_t begin, end;
    std::int32_t node;
  };
  void add(const std::u32string& phrase, std::int64_t label);
  void link();
  [[nodiscard]] std::int32_t step(std::int32_t node, char32_t c) const;
  [[nodiscard]] std::vector<Match> matches(const std::u32string& text) const;

  PhraseOptions options_;
  std::vector<Node> nodes_;
};

/// Line i = class i; alternatives divided by tabs. Throws UsageError for a file without lines.
[[nodiscard]] std::vector<std::vector<std::string>> read_phrases(const std::string& path);

}  // namespace plumbline
