#include "eval/set_bytes.h"

#include <nlohmann/json.hpp>

namespace plumbline {

// CBOR rather than JSON text: keys and paths are bytes, not always UTF-8.
std::string pack(const EvalSet& set) {
  auto items = nlohmann::json::array();
  for (const ImageRef& item : set.items) {
    items.push_back({item.key, item.file, item.offset, item.bytes});
  }
  const nlohmann::json json = {{"templates", set.templates}, {"class_names", set.class_names},
                               {"prompts", set.prompts},     {"columns", set.class_of_column},
                               {"items", std::move(items)},  {"targets", set.targets}};
  std::string bytes;
  nlohmann::json::to_cbor(json, bytes);
  return bytes;
}

EvalSet unpack(const std::string& bytes, const EvalSetOptions& options) {
  const nlohmann::json json = nlohmann::json::from_cbor(bytes);
  EvalSet set;
  set.options = options;
  json.at("templates").get_to(set.templates);
  json.at("class_names").get_to(set.class_names);
  json.at("prompts").get_to(set.prompts);
  json.at("columns").get_to(set.class_of_column);
  json.at("targets").get_to(set.targets);
  for (const auto& item : json.at("items")) {
    set.items.push_back({item.at(0), item.at(1), item.at(2), item.at(3)});
  }
  return set;
}

}  // namespace plumbline
