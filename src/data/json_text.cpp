// Reading one field of a sample's JSON member.
#include <nlohmann/json.hpp>

#include "data/captions.h"

namespace plumbline {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = 1 << 20;
constexpr int kMaxDepth = 64;

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// The value of \uXXXX at i, or nothing.
std::optional<unsigned> escape_at(std::string_view text, std::size_t i) {
  if (i + 6 > text.size() || text[i] != '\\' || text[i + 1] != 'u') return std::nullopt;
  for (std::size_t k = 2; k < 6; ++k) {
    if (!is_hex(text[i + k])) return std::nullopt;
  }
  return static_cast<unsigned>(std::stoul(std::string(text.substr(i + 2, 4)), nullptr, 16));
}

/// Copies the escape at i, a lone surrogate as U+FFFD; returns the bytes consumed.
std::size_t copy_escape(std::string_view text, std::size_t i, std::string& out) {
  const std::optional<unsigned> code = escape_at(text, i);
  if (!code || *code < 0xd800 || *code > 0xdfff) {
    const std::size_t n = std::min<std::size_t>(2, text.size() - i);
    out += text.substr(i, n);
    return n;
  }
  const std::optional<unsigned> low = *code < 0xdc00 ? escape_at(text, i + 6) : std::nullopt;
  if (low && *low >= 0xdc00 && *low <= 0xdfff) {
    out += text.substr(i, 12);
    return 12;
  }
  out += "\\ufffd";
  return 6;
}

/// Python writes NaN, Infinity and lone surrogates; standard JSON has none of them.
std::string standardise(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (std::size_t i = 0; i < text.size();) {
    if (in_string && text[i] == '\\') {
      i += copy_escape(text, i, out);
      continue;
    }
    if (text[i] == '"') in_string = !in_string;
    bool replaced = false;
    if (!in_string) {
      for (const std::string_view word : {"NaN", "-Infinity", "Infinity"}) {
        if (text.substr(i).starts_with(word)) {
          out += "null";
          i += word.size();
          replaced = true;
          break;
        }
      }
    }
    if (!replaced) out += text[i++];
  }
  return out;
}

json parse(std::string_view text) {
  bool too_deep = false;
  const json::parser_callback_t watch = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;  // what lies deeper is discarded as it is read
  };
  json value = json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  return too_deep ? json(json::value_t::discarded) : value;
}

/// Discarded when it is no JSON that we take.
json parse_leniently(std::string_view text) {
  if (text.size() > kMaxBytes) return json(json::value_t::discarded);
  json value = parse(text);
  return value.is_discarded() ? parse(standardise(text)) : value;
}

const json* find(const json& object, const std::string& field) {
  if (field.starts_with('/')) {
    try {
      const json::json_pointer pointer(field);
      return object.contains(pointer) ? &object.at(pointer) : nullptr;
    } catch (const json::exception&) {
      return nullptr;  // an index into something that is no list
    }
  }
  if (!object.is_object()) return nullptr;
  const auto found = object.find(field);
  return found == object.end() ? nullptr : &*found;
}

std::optional<std::string> scalar(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return value.dump();
  return std::nullopt;
}

}  // namespace

std::optional<std::vector<std::string>> json_strings(std::string_view text,
                                                     const std::string& field) {
  const json value = parse_leniently(text);
  if (value.is_discarded()) return std::nullopt;
  std::vector<std::string> strings;
  const json* found = find(value, field);
  if (found && found->is_string()) strings.push_back(found->get<std::string>());
  if (found && found->is_array()) {
    for (const json& item : *found) {
      if (item.is_string()) strings.push_back(item.get<std::string>());
    }
  }
  return strings;
}

std::optional<std::string> json_scalar(std::string_view text, const std::string& field) {
  const json value = parse_leniently(text);
  const json* found = value.is_discarded() ? nullptr : find(value, field);
  return found ? scalar(*found) : std::nullopt;
}

std::vector<std::string> json_scalars(std::string_view text, const std::string& field) {
  const json value = parse_leniently(text);
  const json* found = value.is_discarded() ? nullptr : find(value, field);
  if (!found) return {};
  const json list = found->is_array() ? *found : json::array({*found});
  std::vector<std::string> scalars;
  for (const json& item : list) {
    const std::optional<std::string> one = scalar(item);
    if (!one) return {};
    scalars.push_back(*one);
  }
  return scalars;
}

}  // namespace plumbline
