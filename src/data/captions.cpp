#include "data/captions.h"

#include <algorithm>

#include "core/philox.h"
#include "data/utf8.h"
#include "plumbline/error.h"
#include "text/caption_clean.h"

namespace plumbline {
namespace {

constexpr std::size_t kMaxCaption = 64 << 10;
constexpr std::uint32_t kValueDraws = 1000;  // draws for values and lines begin here, one a key

BadSample no_utf8(std::string_view suffix) {
  return {BadSampleClass::tokenizer, str("member .", suffix, " is not UTF-8")};
}

}  // namespace

/// Draw d of purpose `caption`: the order of keys takes words 0 and 1 of draws 0, 1, ...; the value
/// of key k words 0 and 1 of draw 1000 + k, its line words 2 and 3.
struct CaptionChooser::Draws {
  std::uint64_t stream;
  [[nodiscard]] double key(std::size_t i) const {
    const Words w = draw(stream, static_cast<std::uint32_t>(i));
    return unit_double(join(w[0], w[1]));
  }
  [[nodiscard]] std::uint64_t value(std::size_t k) const {
    const Words w = draw(stream, kValueDraws + static_cast<std::uint32_t>(k));
    return join(w[0], w[1]);
  }
  [[nodiscard]] std::uint64_t line(std::size_t k) const {
    const Words w = draw(stream, kValueDraws + static_cast<std::uint32_t>(k));
    return join(w[2], w[3]);
  }
};

CaptionChooser::CaptionChooser(const CaptionOptions& options, const std::string& source)
    : options_(options) {
  const std::string where = str("source ", source, ": captions: ");
  if (options.none) return;
  if (options.keys.empty()) throw UsageError(where + "no keys");
  if (options.probs.size() > options.keys.size()) {
    throw UsageError(str(where, options.probs.size(), " probs for ", options.keys.size(), " keys"));
  }
  if (options.lines != "whole" && options.lines != "first" && options.lines != "sample") {
    throw UsageError(str(where, "lines: '", options.lines, "' is none of whole, first, sample"));
  }
  for (const std::string& step : options.clean) {
    constexpr std::string_view kSteps[] = {"url_decode", "strip_html", "strip_urls",
                                           "collapse_space"};
    if (std::find(std::begin(kSteps), std::end(kSteps), step) == std::end(kSteps)) {
      throw UsageError(str(where, "clean: unknown step '", step,
                           "'; known: url_decode, strip_html, strip_urls, collapse_space"));
    }
  }
  for (std::size_t i = 0; i < options.keys.size(); ++i) {
    const std::string& key = options.keys[i];
    const double weight = i < options.probs.size() ? options.probs[i] : 0.0;
    if (!(weight >= 0)) throw UsageError(str(where, "probs: ", weight, " is negative"));
    if (key.starts_with("json:")) {
      keys_.push_back({"json", key.substr(5), weight});
    } else {
      keys_.push_back({key, "", weight});
    }
  }
}

std::vector<std::string> CaptionChooser::text_keys() const {
  std::vector<std::string> suffixes;
  for (const Key& key : keys_) {
    if (key.suffix != "json") suffixes.push_back(key.suffix);
  }
  return suffixes;
}

bool CaptionChooser::uses_json() const {
  return std::any_of(keys_.begin(), keys_.end(), [](const Key& k) { return k.suffix == "json"; });
}

std::vector<std::size_t> CaptionChooser::order_of_keys(const Draws& draws) const {
  std::vector<std::size_t> rest(keys_.size());
  for (std::size_t i = 0; i < rest.size(); ++i) rest[i] = i;
  if (options_.probs.empty()) return rest;
  std::vector<std::size_t> order;
  for (std::size_t round = 0;; ++round) {
    double total = 0;
    for (const std::size_t k : rest) total += keys_[k].weight;
    if (!(total > 0)) break;
    double left = draws.key(round) * total;
    std::size_t chosen = rest.size();
    for (std::size_t i = 0; i < rest.size(); ++i) {
      if (keys_[rest[i]].weight <= 0) continue;
      chosen = i;  // the last positive one catches rounding
      left -= keys_[rest[i]].weight;
      if (left < 0) break;
    }
    order.push_back(rest[chosen]);
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(chosen));
  }
  order.insert(order.end(), rest.begin(), rest.end());  // zero weights, in their order
  return order;
}

std::string CaptionChooser::line_of(std::string_view value, std::uint64_t bits) const {
  if (options_.lines == "whole") return std::string(value);
  std::vector<std::string_view> lines;
  while (!value.empty()) {
    const std::size_t end = std::min(value.find('\n'), value.size());
    if (!strip(value.substr(0, end)).empty()) lines.push_back(value.substr(0, end));
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  if (lines.empty()) return "";
  return std::string(lines[options_.lines == "first" ? 0 : scale_to(bits, lines.size())]);
}

std::variant<std::string, BadSample> CaptionChooser::choose(const Members& members,
                                                            std::uint64_t seed,
                                                            std::uint64_t g) const {
  const Draws draws{derive(seed, Purpose::caption, g)};
  bool present = false;
  std::string chosen;
  for (const std::size_t k : order_of_keys(draws)) {
    const Key& key = keys_[k];
    const std::optional<std::string_view> content = members(key.suffix);
    if (!content) continue;
    if (!is_utf8(*content)) return no_utf8(key.suffix);
    std::string value(*content);
    if (key.suffix == "json" && !key.field.empty()) {
      const auto strings = json_strings(*content, key.field);
      if (!strings) return BadSample{BadSampleClass::tokenizer, "member .json is not JSON"};
      if (strings->empty()) continue;
      value = (*strings)[scale_to(draws.value(k), strings->size())];
    }
    present = true;
    value = line_of(value, draws.line(k));
    if (strip(value).empty()) continue;
    if (!options_.join) {
      chosen = std::move(value);
      break;
    }
    if (!chosen.empty()) chosen += ' ';
    chosen += strip(value);
  }
  if (!present) return BadSample{BadSampleClass::no_text, "no caption key is in the sample"};
  std::string caption(cut_utf8(chosen, kMaxCaption));
  if (!options_.clean.empty()) caption = clean_caption(std::move(caption), options_.clean);
  if (strip(caption).empty()) return BadSample{BadSampleClass::empty_text, "the caption is empty"};
  return caption;
}

IndexSettings index_settings(const SourceOptions& source) {
  IndexSettings settings;
  settings.image_keys = source.image_keys;
  settings.text = !source.captions.none;
  if (settings.text) {
    const CaptionChooser chooser(source.captions, source.name);
    settings.text_keys = chooser.text_keys();
    settings.json = chooser.uses_json();
  }
  return settings;
}

}  // namespace plumbline
