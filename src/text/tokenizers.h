// The three kinds of tokenizer behind make_tokenizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "plumbline/tokenizer.h"
#include "text/clean.h"

namespace plumbline {

[[nodiscard]] std::unique_ptr<Tokenizer> make_clip_tokenizer(const TokenizerOptions& options,
                                                             CleanMode clean);
[[nodiscard]] std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(
    const TokenizerOptions& options, CleanMode clean);
[[nodiscard]] std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(const TokenizerOptions& options,
                                                                  CleanMode clean);

enum class Reduction { cut, simple, random, shuffle };

/// Shortens `ids` to `keep` of them by the draws of `stream`: `cut` the first ones, `simple` a
/// block from a random place, `random` a random subset in order, `shuffle` one in random order.
void reduce(std::vector<std::int32_t>& ids, std::size_t keep, Reduction how, std::uint64_t stream);

/// A row: [first] ids [last], padded. `first` and `last` may be -1 for none; ids that do not fit
/// are cut. Returns the ids before cutting, with the special ones.
int fill_row(std::span<const std::int32_t> ids, std::int32_t first, std::int32_t last,
             std::int32_t pad, std::span<std::int32_t> row_L);

}  // namespace plumbline
