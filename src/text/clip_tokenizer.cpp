// kind `clip`: OpenCLIP's SimpleTokenizer.
#include <algorithm>
#include <string>
#include <utility>

#include "core/assets.h"
#include "plumbline/error.h"
#include "text/byte_pairs.h"
#include "text/tokenizers.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

constexpr std::u32string_view kStart = U"<start_of_text>";
constexpr std::u32string_view kEnd = U"<end_of_text>";

/// Simple case folding of what the split pattern names: ASCII letters, and U+017F, the long s.
char32_t fold(char32_t c) {
  if (c == U'\u017F') return U's';
  return c >= U'A' && c <= U'Z' ? c + 32 : c;
}

bool starts_with_folded(std::u32string_view text, std::u32string_view pattern) {
  return text.size() >= pattern.size() &&
         std::equal(pattern.begin(), pattern.end(), text.begin(),
                    [](char32_t p, char32_t t) { return p == fold(t); });
}

/// Length of 's 't 're 've 'm 'll 'd at the start of `text`, or 0.
std::size_t contraction_length(std::u32string_view text) {
  constexpr std::u32string_view kContractions[] = {U"'s", U"'t",  U"'re", U"'ve",
                                                   U"'m", U"'ll", U"'d"};
  for (const std::u32string_view c : kContractions) {
    if (starts_with_folded(text, c)) return c.size();
  }
  return 0;
}

std::size_t run_length(std::u32string_view text, Property property) {
  const auto end = std::find_if_not(
      text.begin(), text.end(), [property](char32_t c) { return (properties(c) & property) != 0; });
  return static_cast<std::size_t>(end - text.begin());
}

/// Length of the word at the start of `text`: a contraction, letters, one digit, or other signs; 0
/// for what belongs to no word.
std::size_t word_length(std::u32string_view text) {
  if (text[0] == U'\'') {
    if (const std::size_t length = contraction_length(text); length > 0) return length;
  }
  const unsigned p = properties(text[0]);
  if ((p & kLetter) != 0) return run_length(text, kLetter);
  if ((p & kNumber) != 0) return 1;
  if ((p & kOther) != 0) return run_length(text, kOther);
  return 0;
}

Reduction reduction(const std::string& name) {
  if (name.empty()) return Reduction::cut;
  if (name == "simple") return Reduction::simple;
  if (name == "random") return Reduction::random;
  if (name == "shuffle") return Reduction::shuffle;
  throw UsageError(str("unknown tokenizer reduction '", name, "': simple, random or shuffle",
                       name == "syntax" ? " (syntax needs a part-of-speech tagger)" : ""));
}

class ClipTokenizer final : public Tokenizer {
 public:
  ClipTokenizer(const TokenizerOptions& options, CleanMode clean)
      : context_length_(options.context_length),
        clean_(clean),
        reduction_(reduction(options.reduction)),
        special_text_(options.special_text == "openclip"),
        pairs_(options.path.empty() ? find_asset("bpe_simple_vocab_16e6.txt.gz") : options.path) {}

  [[nodiscard]] int context_length() const override { return context_length_; }
  [[nodiscard]] int vocab_size() const override { return BytePairs::kVocabSize; }

  int encode(std::string_view caption, std::span<std::int32_t> ids_L) const override {
    return encode_row(caption, ids_L, Reduction::cut, 0);
  }
  int encode(std::string_view caption, std::span<std::int32_t> ids_L,
             std::uint64_t stream) const override {
    return encode_row(caption, ids_L, reduction_, stream);
  }

 private:
  int encode_row(std::string_view caption, std::span<std::int32_t> ids_L, Reduction how,
                 std::uint64_t stream) const {
    require(ids_L.size() == static_cast<std::size_t>(context_length_),
            "a row of ids has context_length places");
    std::vector<std::int32_t> ids;
    ids.reserve(ids_L.size());
    append_ids(clean_text(caption, clean_), ids);
    const auto all = static_cast<int>(ids.size()) + 2;
    reduce(ids, ids_L.size() - 2, how, stream);
    fill_row(ids, BytePairs::kStartOfText, BytePairs::kEndOfText, 0, ids_L);
    return all;
  }

  void append_ids(std::u32string_view text, std::vector<std::int32_t>& ids) const {
    std::string word;
    while (!text.empty()) {
      std::size_t length = special_text_ ? append_special(text, ids) : 0;
      if (length == 0 && (length = word_length(text)) > 0) {
        word.clear();
        for (const char32_t c : text.substr(0, length)) append_utf8(c, word);
        pairs_.append(word, ids);
      }
      text.remove_prefix(std::max<std::size_t>(length, 1));
    }
  }

  /// A special token at the start of `text`; the pattern ignores case, the vocabulary does not.
  std::size_t append_special(std::u32string_view text, std::vector<std::int32_t>& ids) const {
    if (text[0] != U'<') return 0;
    for (const std::u32string_view token : {kStart, kEnd}) {
      if (!starts_with_folded(text, token)) continue;
      if (text.starts_with(token)) {
        ids.push_back(token == kStart ? BytePairs::kStartOfText : BytePairs::kEndOfText);
      } else {
        pairs_.append(encode_utf8(text.substr(0, token.size())), ids);
      }
      return token.size();
    }
    return 0;
  }

  int context_length_;
  CleanMode clean_;
  Reduction reduction_;
  bool special_text_;
  BytePairs pairs_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_clip_tokenizer(const TokenizerOptions& options, CleanMode clean) {
  return std::make_unique<ClipTokenizer>(options, clean);
}

}  // namespace plumbline
