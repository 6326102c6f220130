// SUITE.yaml to options.
#include <algorithm>
#include <filesystem>
#include <set>

#include "config/config_node.h"
#include "eval/layouts.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

bool is_file_name(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name[0] != '.' && std::all_of(name.begin(), name.end(), allowed);
}

/// Keys of a linear probe, and only of one.
void check_probe(const ConfigNode& node, EvalSetOptions& set) {
  if (set.kind != "linear_probe") {
    for (const char* key : {"train", "validation", "shots", "normalise"}) {
      if (node[key].present()) node[key].fail("is only for the kind linear_probe");
    }
  } else if (set.train.empty()) {
    if (!has_splits(set.layout)) node.fail("needs the key 'train': a folder to learn from");
    set.train = "train";
  }
}

EvalSetOptions read_set(const ConfigNode& node) {
  EvalSetOptions set;
  node["name"].get(set.name);
  node["layout"].get_choice(set.layout, layout_names());
  node["path"].get_path(set.path);
  node["kind"].get_choice(set.kind, {"classification", "retrieval", "linear_probe"});
  node["reference"].get(set.reference);
  set.role = set.reference.empty() ? "reference" : "shift";
  node["role"].get_choice(set.role, {"reference", "shift"});
  node["templates"].get_path(set.templates);
  node["prompts"].get_path(set.prompts);
  node["names"].get_path(set.names);
  node["split"].get(set.split);
  node["variant"].get_choice(set.variant, {"matched-frequency", "threshold-0.7", "top-images"});
  node["classes"].get_path(set.classes);
  node["head"].get_choice(set.head, {"own", "imagenet"});
  node["border_px"].get_in(set.border_px, 0, 1000);
  node["min_images"].get_in(set.min_images, std::int64_t{1}, std::int64_t{1} << 40);
  node["train"].get_path(set.train);
  node["validation"].get_path(set.validation);
  node["shots"].get_in(set.shots, std::int64_t{0}, std::int64_t{1} << 40);
  node["normalise"].get(set.normalise);
  set.where = node.where();
  if (!is_file_name(set.name)) {
    node["name"].fail("must be a name of letters, digits, '.', '_' and '-'");
  }
  for (const char* key : {"layout", "path"}) {
    if (!node[key].present()) node.fail(str("needs the key '", key, "'"));
  }
  check_probe(node, set);
  if (set.layout == "imagenetv2" && set.variant.empty()) set.variant = "matched-frequency";
  return set;
}

void check_references(const EvalSuite& suite) {
  std::set<std::string> names;
  for (const EvalSetOptions& set : suite.sets) {
    if (!names.insert(set.name).second) {
      throw UsageError(str(set.where, "names a second set '", set.name, "'"));
    }
  }
  for (const EvalSetOptions& set : suite.sets) {
    if (set.reference.empty()) continue;
    if (set.reference == set.name || !names.contains(set.reference)) {
      throw UsageError(str(set.where, "has the reference '", set.reference,
                           "', which is no other set of the suite"));
    }
  }
}

}  // namespace

EvalSuite read_suite(const std::string& path, const std::vector<std::string>& overrides) {
  ConfigNode node = ConfigNode::read(path);
  for (const std::string& assignment : overrides) node.set(assignment);
  EvalSuite suite;
  suite.path = path;
  node["templates"].get_path(suite.templates);
  const ConfigNode sets = node["sets"];
  if (!sets.is_sequence() || sets.items().empty()) {
    throw UsageError(str(path, ": 'sets' must be a list of at least one test set"));
  }
  for (const ConfigNode& item : sets.items()) {
    if (!item.is_map()) item.fail("must be a mapping with name, layout and path");
    suite.sets.push_back(read_set(item));
  }
  node.reject_unknown();
  check_references(suite);
  return suite;
}

void check_paths(const EvalSuite& suite) {
  for (const EvalSetOptions& set : suite.sets) {
    if (!std::filesystem::is_directory(set.path)) {
      throw UsageError(str(set.where, "has the path '", set.path, "', which is no folder"));
    }
  }
}

}  // namespace plumbline
