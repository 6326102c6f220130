#include "data/labels.h"

#include <charconv>
#include <filesystem>
#include <sstream>

#include "core/file.h"
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

std::variant<std::int64_t, BadSample> LabelReader::read(const CaptionChooser::Members& members,
                                                        std::int64_t classes) const {
  const std::optional<std::string_view> content = members(suffix_);
  if (!content) return no_label(str("no member .", suffix_));
  std::string text(strip(*content));
  if (!field_.empty()) {
    const std::optional<std::string> value = json_scalar(*content, field_);
    if (!value) return no_label(str("no string or integer '", field_, "' in member .json"));
    text = strip(*value);
  }
  if (const auto known = names_.find(text); known != names_.end()) {
    if (known->second < classes) return known->second;
    return no_label(str("'", text, "' is class ", known->second, " of ", classes));
  }
  const std::optional<std::int64_t> number = to_integer(text);
  if (number && *number >= 0 && *number < classes) return *number;
  return no_label(str("the label '", text.substr(0, 100), "' is none of ", classes, " classes"));
}

}  // namespace plumbline
