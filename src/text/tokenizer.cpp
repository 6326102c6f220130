// make_tokenizer, parse_tokenizer_spec and what all kinds share.
#include "plumbline/tokenizer.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "core/philox.h"
#include "plumbline/error.h"
#include "text/tokenizers.h"

namespace plumbline {
namespace {

void check(const TokenizerOptions& o) {
  if (o.context_length < 2) {
    throw UsageError(str("tokenizer context_length ", o.context_length, " is below 2"));
  }
  if (o.special_text != "literal" && o.special_text != "openclip") {
    throw UsageError(
        str("unknown tokenizer special_text '", o.special_text, "': literal or openclip"));
  }
  if (!o.reduction.empty() && o.kind != "clip") {
    throw UsageError(str("tokenizer reduction '", o.reduction, "' needs kind clip, not ", o.kind));
  }
  if (o.special_text == "openclip" && o.kind == "sentencepiece") {
    throw UsageError("tokenizer special_text openclip needs kind clip or wordpiece");
  }
  if (o.path.empty() && o.kind != "clip") {
    throw UsageError(str("tokenizer kind ", o.kind, " needs a path to its vocabulary"));
  }
}

int parse_int(std::string_view key, std::string_view text) {
  int value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size()) {
    throw UsageError(str("tokenizer ", key, ": '", text, "' is not an integer"));
  }
  return value;
}

bool parse_bool(std::string_view key, std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  throw UsageError(str("tokenizer ", key, ": '", text, "' is neither true nor false"));
}

struct TextKey {
  std::string_view name;
  std::string TokenizerOptions::*member;
};
constexpr TextKey kTextKeys[] = {
    {"kind", &TokenizerOptions::kind},
    {"path", &TokenizerOptions::path},
    {"clean", &TokenizerOptions::clean},
    {"reduction", &TokenizerOptions::reduction},
    {"special_text", &TokenizerOptions::special_text},
};

struct IntKey {
  std::string_view name;
  int TokenizerOptions::*member;
};
constexpr IntKey kIntKeys[] = {
    {"context_length", &TokenizerOptions::context_length},
    {"bos_id", &TokenizerOptions::bos_id},
    {"eos_id", &TokenizerOptions::eos_id},
    {"pad_id", &TokenizerOptions::pad_id},
    {"unk_id", &TokenizerOptions::unk_id},
    {"id_offset", &TokenizerOptions::id_offset},
};

void set_option(TokenizerOptions& options, std::string_view key, std::string_view value) {
  for (const TextKey& k : kTextKeys) {
    if (k.name == key) {
      options.*k.member = value;
      return;
    }
  }
  for (const IntKey& k : kIntKeys) {
    if (k.name == key) {
      options.*k.member = parse_int(key, value);
      return;
    }
  }
  if (key == "strip_sep") {
    options.strip_sep = parse_bool(key, value);
    return;
  }
  std::string known;
  for (const TextKey& k : kTextKeys) known += str(k.name, ", ");
  for (const IntKey& k : kIntKeys) known += str(k.name, ", ");
  throw UsageError(str("unknown tokenizer key '", key, "': one of ", known, "strip_sep"));
}

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerOptions& options) {
  if (options.kind != "clip" && options.kind != "sentencepiece" && options.kind != "wordpiece") {
    throw UsageError(
        str("unknown tokenizer kind '", options.kind, "': clip, sentencepiece or wordpiece"));
  }
  check(options);
  const bool clip = options.kind == "clip";
  const CleanMode clean = options.clean.empty() ? (clip ? CleanMode::lower : CleanMode::whitespace)
                                                : clean_mode(options.clean);
  if (clip) return make_clip_tokenizer(options, clean);
  if (options.kind == "sentencepiece") return make_sentencepiece_tokenizer(options, clean);
  return make_wordpiece_tokenizer(options, clean);
}

TokenizerOptions parse_tokenizer_spec(std::string_view spec) {
  TokenizerOptions options;
  const std::size_t end = std::min(spec.find(','), spec.size());
  const std::string_view head = spec.substr(0, end);
  const std::size_t colon = std::min(head.find(':'), head.size());
  options.kind = head.substr(0, colon);
  if (colon < head.size()) options.path = head.substr(colon + 1);
  spec.remove_prefix(end);
  while (!spec.empty()) {
    spec.remove_prefix(1);  // the comma
    const std::size_t next = std::min(spec.find(','), spec.size());
    const std::string_view item = spec.substr(0, next);
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) {
      throw UsageError(str("tokenizer '", item, "' is not key=value"));
    }
    set_option(options, item.substr(0, equals), item.substr(equals + 1));
    spec.remove_prefix(next);
  }
  return options;
}

void reduce(std::vector<std::int32_t>& ids, std::size_t keep, Reduction how, std::uint64_t stream) {
  const std::size_t n = ids.size();
  if (n <= keep) return;
  const auto random_below = [stream](std::size_t d, std::size_t bound) {
    const Words words = draw(stream, static_cast<std::uint32_t>(d));
    return static_cast<std::size_t>(scale_to(join(words[0], words[1]), bound));
  };
  if (how == Reduction::simple) {
    const std::size_t start = random_below(0, n - keep + 1);
    ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(start));
  } else if (how != Reduction::cut) {
    // The first `keep` places of a Fisher-Yates shuffle.
    std::vector<std::size_t> places(n);
    std::iota(places.begin(), places.end(), std::size_t{0});
    for (std::size_t d = 0; d < keep; ++d) std::swap(places[d], places[d + random_below(d, n - d)]);
    places.resize(keep);
    if (how == Reduction::random) std::sort(places.begin(), places.end());
    std::vector<std::int32_t> kept;
    kept.reserve(keep);
    for (const std::size_t place : places) kept.push_back(ids[place]);
    ids = std::move(kept);
  }
  ids.resize(keep);
}

int fill_row(std::span<const std::int32_t> ids, std::int32_t first, std::int32_t last,
             std::int32_t pad, std::span<std::int32_t> row_L) {
  const std::size_t specials = (first >= 0 ? 1U : 0U) + (last >= 0 ? 1U : 0U);
  require(row_L.size() >= specials, "a row of ids has room for the special ones");
  const std::size_t kept = std::min(ids.size(), row_L.size() - specials);
  std::size_t at = 0;
  if (first >= 0) row_L[at++] = first;
  std::copy_n(ids.begin(), kept, row_L.begin() + static_cast<std::ptrdiff_t>(at));
  at += kept;
  if (last >= 0) row_L[at++] = last;
  std::fill(row_L.begin() + static_cast<std::ptrdiff_t>(at), row_L.end(), pad);
  return static_cast<int>(ids.size() + specials);
}

}  // namespace plumbline
