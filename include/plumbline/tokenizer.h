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
  std::string kind = "clip";    ///< clip | sentencepiece
  int context_length = 77;      ///< ids a caption, with the special ones
  std::string path;             ///< vocabulary; empty: assets/bpe_simple_vocab_16e6.txt.gz for clip
  std::string clean = "";       ///< lower | whitespace | canonicalize; empty: the kind's default
  std::string reduction = "";   ///< empty | simple | random | shuffle
  std::string special_text = "literal";  ///< literal | openclip: "<end_of_text>" in a caption
  int bos_id = -1, eos_id = 1, pad_id = 1, unk_id = -1, id_offset = 0;  ///< sentencepiece
};

/// Immutable after construction: `encode` may be called by many threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  [[nodiscard]] virtual int context_length() const = 0;
  [[nodiscard]] virtual int vocab_size() const = 0;
  /// Fills all of ids_L (context_length() ids, padded; a longer caption is cut, its last id EOT).
  /// Returns the number of ids before cutting, so that the caller can count truncation.
  /// Throws std::invalid_argument when `caption` is not UTF-8.
  virtual int encode(std::string_view caption, std::span<std::int32_t> ids_L) const = 0;
};

/// Throws UsageError for an unknown kind or option, DataError for an unreadable vocabulary.
[[nodiscard]] std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerOptions& options);

/// Parses `kind[:path][,key=value]...`, the SPEC of `plumbline tokenize`.
[[nodiscard]] TokenizerOptions parse_tokenizer_spec(std::string_view spec);

}  // namespace plumbline
