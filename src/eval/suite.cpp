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

/// Where a key of a set has a meaning. A key elsewhere would be read as if it had been obeyed.
struct KeyRule {
  const char* key;
  bool (*holds)(const EvalSetOptions& set);
  const char* where;
};

bool of_probe(const EvalSetOptions& set) { return set.kind == "linear_probe"; }
bool of_zero_shot(const EvalSetOptions& set) {
  return set.kind == "classification" || set.kind == "multilabel";
}
bool of_names(const EvalSetOptions& set) { return set.kind != "retrieval"; }
bool of_classes(const EvalSetOptions& set) { return of_names(set) && set.kind != "multilabel"; }
bool of_objectnet(const EvalSetOptions& set) { return set.layout == "objectnet"; }

constexpr KeyRule kKeyRules[] = {
    {"train", of_probe, "for the kind linear_probe"},
    {"validation", of_probe, "for the kind linear_probe"},
    {"shots", of_probe, "for the kind linear_probe"},
    {"normalise", of_probe, "for the kind linear_probe"},
    {"templates", of_zero_shot, "for the kinds classification and multilabel"},
    {"prompts", of_zero_shot, "for the kinds classification and multilabel"},
    {"names", of_names, "for the kinds classification, multilabel and linear_probe"},
    {"classes", of_classes, "for the kinds classification and linear_probe"},
    {"min_images", [](const EvalSetOptions& set) { return set.classes == "present"; },
     "beside 'classes: present'"},
    {"split", [](const EvalSetOptions& set) { return has_splits(set.layout); },
     "for the layouts webdataset, iwildcam and fmow; of others the path is the split"},
    {"variant", [](const EvalSetOptions& set) { return set.layout == "imagenetv2"; },
     "for the layout imagenetv2"},
    {"head",
     [](const EvalSetOptions& set) {
       return set.layout == "objectnet" && set.kind == "classification";
     },
     "for the layout objectnet and the kind classification"},
    {"border_px", of_objectnet, "for the layout objectnet"},
};

void check_keys(const ConfigNode& node, EvalSetOptions& set) {
  for (const KeyRule& rule : kKeyRules) {
    if (node[rule.key].present() && !rule.holds(set)) {
      node[rule.key].fail(str("is only ", rule.where));
    }
  }
  if (node["templates"].present() && node["prompts"].present()) {
    node["templates"].fail("stands beside 'prompts', which holds templates too; give one of them");
  }
  if (set.kind == "linear_probe" && set.train.empty()) {
    if (!has_splits(set.layout)) node.fail("needs the key 'train': a folder to learn from");
    set.train = "train";
  }
}

EvalSetOptions read_set(const ConfigNode& node) {
  EvalSetOptions set;
  node["name"].get(set.name);
  node["layout"].get_choice(set.layout, layout_names());
  node["path"].get_path(set.path);
  node["kind"].get_choice(set.kind, {"classification", "multilabel", "retrieval", "linear_probe"});
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
  check_keys(node, set);
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
  node["classifier_cache"].get_path(suite.classifier_cache);
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
