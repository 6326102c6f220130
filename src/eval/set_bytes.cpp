#include "eval/set_bytes.h"

#include <nlohmann/json.hpp>

namespace plumbline {

// CBOR rather than JSON text: keys and paths are bytes, not always UTF-8.
namespace {

nlohmann::json list_items(const std::vector<ImageRef>& images) {
  auto items = nlohmann::json::array();
  for (const ImageRef& item : images) {
    items.push_back({item.key, item.file, item.offset, item.bytes});
  }
  return items;
}

void read_items(const nlohmann::json& items, std::vector<ImageRef>& images) {
  for (const auto& item : items) {
    images.push_back({item.at(0), item.at(1), item.at(2), item.at(3)});
  }
}

}  // namespace

std::string pack(const EvalSet& set) {
  auto groupings = nlohmann::json::array();
  for (const Grouping& g : set.groupings) {
    groupings.push_back({g.name, g.groups, g.group_of, g.left_out});
  }
  const nlohmann::json json = {{"templates", set.templates},
                               {"class_names", set.class_names},
                               {"prompts", set.prompts},
                               {"columns", set.class_of_column},
                               {"items", list_items(set.items)},
                               {"targets", set.targets},
                               {"labels", set.labels},
                               {"captions", set.captions},
                               {"groupings", std::move(groupings)},
                               {"train", list_items(set.train.items)},
                               {"train_targets", set.train.targets},
                               {"validation", list_items(set.validation.items)},
                               {"validation_targets", set.validation.targets}};
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
  json.at("labels").get_to(set.labels);
  json.at("captions").get_to(set.captions);
  for (const auto& g : json.at("groupings")) {
    set.groupings.push_back({g.at(0), g.at(1), g.at(2), g.at(3)});
  }
  read_items(json.at("items"), set.items);
  read_items(json.at("train"), set.train.items);
  read_items(json.at("validation"), set.validation.items);
  json.at("train_targets").get_to(set.train.targets);
  json.at("validation_targets").get_to(set.validation.targets);
  return set;
}

}  // namespace plumbline
