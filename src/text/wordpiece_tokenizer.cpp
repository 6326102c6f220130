// kind `wordpiece`: BERT uncased (Devlin et al. 2019) as Hugging Face's `tokenizers` 0.23 does it.
#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>

#include "core/file.h"
#include "plumbline/error.h"
#include "text/tokenizers.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

#include "text/bert_tables.inc"

enum BertProperty : std::uint8_t {
  kRemoved = 1,       ///< control characters
  kBlank = 2,         ///< becomes a space
  kIdeograph = 4,     ///< a word of its own
  kAccent = 8,        ///< stripped after decomposition
  kPunctuation = 16,  ///< a word of its own
  kNoNormal = 32,     ///< unknown to the normalization of that library
};

constexpr std::size_t kLongestWord = 100;  ///< code points; longer words are unknown
constexpr std::array<std::string_view, 5> kSpecials = {"[PAD]", "[UNK]", "[CLS]", "[SEP]",
                                                       "[MASK]"};

bool has(char32_t c, BertProperty property) {
  static const std::vector<std::uint8_t> table = expand_runs<std::uint8_t>(kBertRuns, 8);
  return (table[c] & property) != 0;
}

void append_bert_lower(char32_t c, std::u32string& out) {
  const auto* entry = std::lower_bound(
      std::begin(kBertLower), std::end(kBertLower), c,
      [](const std::array<char32_t, 2>& e, char32_t value) { return e[0] < value; });
  if (entry != std::end(kBertLower) && (*entry)[0] == c) {
    out += (*entry)[1];
  } else {
    append_lower(c, out);
  }
}

/// Controls dropped, ideographs set apart, accents stripped, lower case.
std::u32string bert_normalize(std::u32string_view text) {
  std::u32string spaced;
  for (const char32_t c : text) {
    if (has(c, kRemoved)) continue;
    if (has(c, kBlank)) {
      spaced += U' ';
    } else if (has(c, kIdeograph)) {
      spaced += {U' ', c, U' '};
    } else {
      spaced += c;
    }
  }
  std::u32string out;
  for (const char32_t c : to_nfd(spaced, [](char32_t p) { return has(p, kNoNormal); })) {
    if (!has(c, kAccent)) append_bert_lower(c, out);
  }
  return out;
}

using Pieces = std::unordered_map<std::string, std::int32_t>;

class WordpieceTokenizer final : public Tokenizer {
 public:
  WordpieceTokenizer(const TokenizerOptions& options, CleanMode clean)
      : context_length_(options.context_length),
        clean_(clean),
        special_text_(options.special_text == "openclip") {
    read_vocabulary(options.path);
    unknown_ = special_id("[UNK]", options.path);
    first_ = special_id("[CLS]", options.path);
    separator_ = special_id("[SEP]", options.path);
    pad_ = special_id("[PAD]", options.path);
    last_ = options.strip_sep ? 0 : separator_;
    strip_sep_ = options.strip_sep;
  }

  [[nodiscard]] int context_length() const override { return context_length_; }
  [[nodiscard]] int vocab_size() const override { return vocab_size_; }

  int encode(std::string_view caption, std::span<std::int32_t> ids_L) const override {
    require(ids_L.size() == static_cast<std::size_t>(context_length_),
            "a row of ids has context_length places");
    std::vector<std::int32_t> ids;
    const std::u32string cleaned = clean_text(caption, clean_);
    std::u32string_view text = cleaned;
    while (!text.empty()) {
      const auto special = special_at(text);
      std::size_t end = special == pieces_.end() ? 1 : special->first.size();
      if (special != pieces_.end()) {
        ids.push_back(special->second);
      } else {
        while (end < text.size() && special_at(text.substr(end)) == pieces_.end()) ++end;
        append_words(bert_normalize(text.substr(0, end)), ids);
      }
      text.remove_prefix(end);
    }
    if (strip_sep_) std::replace(ids.begin(), ids.end(), separator_, 0);
    return fill_row(ids, first_, last_, pad_, ids_L);
  }

 private:
  void read_vocabulary(const std::string& path) {
    const std::string content = read_file(path);
    std::string_view rest = content;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      std::string_view piece = rest.substr(0, end);
      while (!piece.empty() && (piece.back() == '\r' || piece.back() == ' ')) {
        piece.remove_suffix(1);
      }
      pieces_[std::string(piece)] = vocab_size_++;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }

  [[nodiscard]] std::int32_t special_id(const std::string& name, const std::string& path) const {
    const auto found = pieces_.find(name);
    if (found == pieces_.end()) {
      throw DataError(str("vocabulary ", path, ": no ", name, " among ", vocab_size_, " lines"));
    }
    return found->second;
  }

  /// The special token at the start of `text`, or the end of the vocabulary.
  [[nodiscard]] Pieces::const_iterator special_at(std::u32string_view text) const {
    if (!special_text_ || text[0] != U'[') return pieces_.end();
    for (const std::string_view name : kSpecials) {
      const auto same = [](char a, char32_t b) { return static_cast<char32_t>(a) == b; };
      if (text.size() >= name.size() && std::equal(name.begin(), name.end(), text.begin(), same)) {
        return pieces_.find(std::string(name));
      }
    }
    return pieces_.end();
  }

  void append_words(std::u32string_view text, std::vector<std::int32_t>& ids) const {
    std::size_t start = 0;
    for (std::size_t i = 0; i <= text.size(); ++i) {
      const bool apart = i == text.size() || text[i] == U' ' || has(text[i], kPunctuation);
      if (!apart) continue;
      if (i > start) append_pieces(text.substr(start, i - start), ids);
      if (i < text.size() && text[i] != U' ') append_pieces(text.substr(i, 1), ids);
      start = i + 1;
    }
  }

  /// Greedy longest match; a word with a rest that is in no piece is unknown as a whole.
  void append_pieces(std::u32string_view word, std::vector<std::int32_t>& ids) const {
    const std::size_t before = ids.size();
    bool known = word.size() <= kLongestWord;
    for (std::size_t start = 0; known && start < word.size();) {
      std::size_t end = word.size();
      auto found = pieces_.end();
      for (; end > start; --end) {
        found =
            pieces_.find((start > 0 ? "##" : "") + encode_utf8(word.substr(start, end - start)));
        if (found != pieces_.end()) break;
      }
      known = end > start;
      if (known) ids.push_back(found->second);
      start = end;
    }
    if (known) return;
    ids.resize(before);
    ids.push_back(unknown_);
  }

  int context_length_;
  CleanMode clean_;
  bool special_text_;
  bool strip_sep_ = false;
  Pieces pieces_;
  int vocab_size_ = 0;
  std::int32_t unknown_ = 0, first_ = 0, separator_ = 0, last_ = 0, pad_ = 0;
};

}  // namespace

std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(const TokenizerOptions& options,
                                                    CleanMode clean) {
  return std::make_unique<WordpieceTokenizer>(options, clean);
}

}  // namespace plumbline
