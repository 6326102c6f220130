// Which text of a sample is its caption: OpenCLIP's choices, drawn from Philox by position.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "data/shard_index.h"
#include "plumbline/data.h"

namespace plumbline {

/// Immutable; choose() may be called by many threads at once.
class CaptionChooser {
 public:
  /// Throws UsageError naming `source` for unknown clean steps, lines, too many probs.
  CaptionChooser(const CaptionOptions& options, const std::string& source);

  /// The content of the member with this suffix, or nothing when the sample has none.
  using Members = std::function<std::optional<std::string_view>(std::string_view suffix)>;

  /// The caption of the sample at position `g`, cleaned; or why there is none (no_text, empty_text,
  /// tokenizer for text that is not UTF-8 or JSON). A text over 64 KiB is cut.
  [[nodiscard]] std::variant<std::string, BadSample> choose(const Members& members,
                                                            std::uint64_t seed,
                                                            std::uint64_t g) const;

  /// Suffixes whose members may hold the caption, without json.
  [[nodiscard]] std::vector<std::string> text_keys() const;
  [[nodiscard]] bool uses_json() const;

 private:
  struct Key {
    std::string suffix;
    std::string field;  ///< of json
    double weight;
  };
  struct Draws;
  [[nodiscard]] std::vector<std::size_t> order_of_keys(const Draws& draws) const;
  [[nodiscard]] std::string line_of(std::string_view value, std::uint64_t bits) const;

  CaptionOptions options_;
  std::vector<Key> keys_;
};

/// A JSON object as Python writes it, with NaN, Infinity and lone surrogates; `field` is a
/// top-level name, or a pointer (RFC 6901) when it begins with '/'. The strings found: one, or all
/// of a list; none for other types.  Nothing when `text` is not JSON, over 1 MiB or nested over 64
/// deep.
[[nodiscard]] std::optional<std::vector<std::string>> json_strings(std::string_view text,
                                                                   const std::string& field);

/// The same of a field that is a string or an integer, the latter as decimal text. Nothing for
/// other types too.
[[nodiscard]] std::optional<std::string> json_scalar(std::string_view text,
                                                     const std::string& field);

/// The same of a field that may be a list of them; nothing when one of a list is of another type.
[[nodiscard]] std::vector<std::string> json_scalars(std::string_view text,
                                                    const std::string& field);

/// What the index needs to know of a source's settings.
[[nodiscard]] IndexSettings index_settings(const SourceOptions& source);

}  // namespace plumbline
