// Captions to token ids. Bit-equal with OpenCLIP 3.3.0.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace plumbline {

/// The `tokenizer:` section of a run file.
struct TokenizerOptions {
  std::string kind = "clip";   ///< clip | sentencepiece | wordpiece
  int context_length = 77;     ///< ids a caption, with the special ones
  std::string path = "";       ///< vocabulary; empty: assets/bpe_simple_vocab_16e6.txt.gz for clip
  std::string clean = "";      ///< lower | whitespace | canonicalize; empty: lower for clip, else
                               ///< whitespace
  std::string reduction = "";  ///< empty | simple | random | shuffle: how clip shortens
  /// literal: "<end_of_text>" in a caption (wordpiece: "[SEP]", ...) is plain text, so that a
  /// caption cannot end itself; openclip: it becomes the special id, as in OpenCLIP.
  std::string special_text = "literal";
  int bos_id = -1, eos_id = 1, pad_id = 1, unk_id = -1, id_offset = 0;  ///< sentencepiece; -1: none
  bool strip_sep = false;  ///< wordpiece: [SEP] becomes 0 (CLIPA)
};

/// Immutable after construction: `encode` may be called by many threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  [[nodiscard]] virtual int context_length() const = 0;
  /// One more than the largest id that `encode` may give.
  [[nodiscard]] virtual int vocab_size() const = 0;
  /// Fills all of ids_L (context_length() ids, padded; a longer caption is cut at its end and keeps
  /// its special ids). Never reduces: evaluation sees the same ids each time.
  /// Returns the number of ids before cutting, special ones included, so that the caller can count
  /// truncation (> context_length()).
  /// Throws std::invalid_argument when `caption` is not UTF-8.
  virtual int encode(std::string_view caption, std::span<std::int32_t> ids_L) const = 0;
  /// The same for training: a longer caption is shortened by `reduction`, where one is set, with
  /// the draws of `stream` = derive(seed, Purpose::token_reduction, position of the sample).
  virtual int encode(std::string_view caption, std::span<std::int32_t> ids_L,
                     std::uint64_t stream) const {
    (void)stream;
    return encode(caption, ids_L);
  }
};

/// Throws UsageError for an unknown kind or option, DataError for an unreadable vocabulary.
[[nodiscard]] std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerOptions& options);

/// Parses `kind[:path][,key=value]...`, the SPEC of `plumbline tokenize`; the keys are the names of
/// TokenizerOptions. Throws UsageError naming the key and its value.
[[nodiscard]] TokenizerOptions parse_tokenizer_spec(std::string_view spec);

}  // namespace plumbline
