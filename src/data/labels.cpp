#include "data/labels.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "core/file.h"
#include "core/philox.h"
#include "data/utf8.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

BadSample no_label(std::string message) { return {BadSampleClass::no_label, std::move(message)}; }

std::optional<std::int64_t> to_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

LabelReader::LabelReader(const LabelOptions& options, const std::string& source) {
  const bool json = options.key.starts_with("json:");
  suffix_ = json ? "json" : options.key;
  if (json) field_ = options.key.substr(5);
  if (options.names.empty()) return;
  const std::string where = str("source ", source, ": label: names: ", options.names);
  if (!std::filesystem::is_regular_file(options.names)) throw UsageError(where + " is no file");
  std::istringstream lines(read_file(options.names));
  std::int64_t line = 0;
  for (std::string text; std::getline(lines, text); ++line) {
    const std::string name(strip(text));
    if (name.empty() || names_.emplace(name, line).second) continue;
    throw UsageError(str(where, ":", line + 1, ": a second class '", name, "'"));
  }
}

/// The labels of a member: of a field all that is there, else the whole text, or numbers with
/// spaces between them.
std::vector<std::string> LabelReader::labels_in(std::string_view content) const {
  if (!field_.empty()) return json_scalars(content, field_);
  const std::string text(strip(content));
  if (text.empty() || names_.contains(text)) return {text};
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; stream >> word;) words.push_back(word);
  const bool numbers = std::all_of(words.begin(), words.end(),
                                   [](const std::string& w) { return to_integer(w).has_value(); });
  return numbers ? words : std::vector<std::string>{text};
}

std::variant<std::int64_t, BadSample> LabelReader::class_of(std::string_view label,
                                                            std::int64_t classes) const {
  if (const auto known = names_.find(label); known != names_.end()) {
    if (known->second < classes) return known->second;
    return no_label(str("'", label, "' is class ", known->second, " of ", classes));
  }
  const std::optional<std::int64_t> number = to_integer(label);
  if (number && *number >= 0 && *number < classes) return *number;
  return no_label(str("the label '", label.substr(0, 100), "' is none of ", classes, " classes"));
}

std::variant<std::int64_t, BadSample> LabelReader::read(const CaptionChooser::Members& members,
                                                        std::int64_t classes, std::uint64_t seed,
                                                        std::uint64_t g) const {
  const std::optional<std::string_view> content = members(suffix_);
  if (!content) return no_label(str("no member .", suffix_));
  const std::vector<std::string> labels = labels_in(*content);
  if (labels.empty()) {
    return no_label(str("no string or integer '", field_, "' in member .json"));
  }
  std::vector<std::int64_t> found;
  for (const std::string& label : labels) {
    auto one = class_of(strip(label), classes);
    if (std::holds_alternative<BadSample>(one)) return one;
    found.push_back(std::get<std::int64_t>(one));
  }
  if (found.size() == 1) return found[0];
  const std::uint64_t bits =
      derive(derive(seed, Purpose::caption, g), Purpose::caption, found.size());
  return found[scale_to(bits, found.size())];
}

}  // namespace plumbline
