#include "data/phrase_match.h"

#include <algorithm>
#include <queue>

#include "core/file.h"
#include "plumbline/error.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

bool is_word(char32_t c) { return (properties(c) & (kLetter | kNumber)) != 0; }

bool at_word_borders(const std::u32string& text, std::size_t begin, std::size_t end) {
  return (begin == 0 || !is_word(text[begin - 1])) && (end == text.size() || !is_word(text[end]));
}

}  // namespace

PhraseMatcher::PhraseMatcher(const std::vector<std::vector<std::string>>& phrases,
                             const PhraseOptions& options)
    : options_(options), nodes_(1) {
  for (std::size_t c = 0; c < phrases.size(); ++c) {
    if (phrases[c].empty()) throw UsageError(str("class ", c, " has no name to look for"));
    for (const std::string& phrase : phrases[c]) {
      std::u32string text;
      if (phrase.empty() || !try_decode_utf8(phrase, text)) {
        throw UsageError(str("class ", c, ": the name '", phrase, "' is empty or not UTF-8"));
      }
      add(options_.fold ? to_lower(text) : text, static_cast<std::int64_t>(c));
    }
  }
  link();
}

void PhraseMatcher::add(const std::u32string& phrase, std::int64_t label) {
  std::int32_t node = 0;
  for (const char32_t c : phrase) {
    const auto [next, fresh] = nodes_[static_cast<std::size_t>(node)].next.try_emplace(
        c, static_cast<std::int32_t>(nodes_.size()));
    const std::int32_t to = next->second;
    if (fresh) {
      const std::size_t depth = nodes_[static_cast<std::size_t>(node)].depth + 1;
      nodes_.emplace_back().depth = depth;
    }
    node = to;
  }
  auto& classes = nodes_[static_cast<std::size_t>(node)].classes;
  if (std::find(classes.begin(), classes.end(), label) == classes.end()) classes.push_back(label);
}

std::int32_t PhraseMatcher::step(std::int32_t node, char32_t c) const {
  for (;;) {
    const Node& at = nodes_[static_cast<std::size_t>(node)];
    if (const auto found = at.next.find(c); found != at.next.end()) return found->second;
    if (node == 0) return 0;
    node = at.fail;
  }
}

/// Breadth first: the fail link of a node is the longest other phrase start that ends it.
void PhraseMatcher::link() {
  std::queue<std::int32_t> waiting;
  for (const auto& [c, child] : nodes_[0].next) waiting.push(child);
  while (!waiting.empty()) {
    const std::int32_t node = waiting.front();
    waiting.pop();
    for (const auto& [c, child] : nodes_[static_cast<std::size_t>(node)].next) {
      Node& below = nodes_[static_cast<std::size_t>(child)];
      below.fail = step(nodes_[static_cast<std::size_t>(node)].fail, c);
      const Node& fail = nodes_[static_cast<std::size_t>(below.fail)];
      below.shorter = fail.classes.empty() ? fail.shorter : below.fail;
      waiting.push(child);
    }
  }
}

std::vector<PhraseMatcher::Match> PhraseMatcher::matches(const std::u32string& text) const {
  std::vector<Match> found;
  std::int32_t node = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    node = step(node, text[i]);
    for (std::int32_t at = node; at >= 0; at = nodes_[static_cast<std::size_t>(at)].shorter) {
      const Node& here = nodes_[static_cast<std::size_t>(at)];
      if (here.classes.empty()) continue;
      const std::size_t begin = i + 1 - here.depth;
      if (options_.word && !at_word_borders(text, begin, i + 1)) continue;
      found.push_back({begin, i + 1, at});
    }
  }
  return found;
}

std::vector<std::int64_t> PhraseMatcher::find(std::string_view caption) const {
  std::u32string text = decode_utf8_lossy(caption);
  if (options_.fold) text = to_lower(text);
  std::vector<Match> found = matches(text);
  if (options_.longest) {
    std::stable_sort(found.begin(), found.end(), [](const Match& a, const Match& b) {
      return a.end - a.begin > b.end - b.begin;
    });
  }
  std::vector<Match> kept;
  for (const Match& match : found) {
    const bool covered =
        options_.longest && std::any_of(kept.begin(), kept.end(), [&](const Match& k) {
          return match.begin < k.end && k.begin < match.end;
        });
    if (!covered) kept.push_back(match);
  }
  std::vector<std::int64_t> classes;
  for (const Match& match : kept) {
    const auto& of = nodes_[static_cast<std::size_t>(match.node)].classes;
    classes.insert(classes.end(), of.begin(), of.end());
  }
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  return classes;
}

std::vector<std::vector<std::string>> read_phrases(const std::string& path) {
  std::vector<std::vector<std::string>> phrases;
  const std::string text = read_file(path);
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.ends_with('\r')) line.pop_back();
    std::vector<std::string> names;
    for (std::size_t at = 0; at <= line.size();) {
      end = std::min(line.find('\t', at), line.size());
      if (end > at) names.push_back(line.substr(at, end - at));
      at = end + 1;
    }
    phrases.push_back(std::move(names));
  }
  if (phrases.empty()) throw UsageError(str("names ", path, ": the file is empty"));
  return phrases;
}

}  // namespace plumbline
