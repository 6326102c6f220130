// From a layout's listing to the set that is scored: prompts and class restriction.
#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/assets.h"
#include "core/file.h"
#include "eval/layouts.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

struct Layout {
  const char* name;
  LayoutFunction list;
};

constexpr Layout kLayouts[] = {
    {"webdataset", list_webdataset},
    {"imagefolder", list_imagefolder},
    {"imagenet", list_imagenet},
    {"imagenetv2", list_imagenetv2},
    {"imagenet_sketch", list_imagenet_sketch},
    {"imagenet_r", list_imagenet_r},
    {"imagenet_a", list_imagenet_a},
    {"objectnet", list_objectnet},
};

std::string fill(const std::string& text, const std::string& name) {
  std::string out;
  std::size_t from = 0;
  for (auto at = text.find("{c}"); at != std::string::npos; at = text.find("{c}", from)) {
    out.append(text, from, at - from).append(name);
    from = at + 3;
  }
  return out.append(text, from);
}

void check_templates(const std::vector<std::string>& templates, const std::string& from) {
  if (templates.empty()) throw UsageError(str(from, ": no template in it"));
  for (std::size_t i = 0; i < templates.size(); ++i) {
    if (templates[i].find("{c}") == std::string::npos) {
      throw UsageError(
          str(from, ":", i + 1, ": the template '", templates[i], "' does not hold {c}"));
    }
  }
}

std::vector<std::string> find_templates(const std::string& name, const Listing& listing,
                                        const EvalSetOptions& options, const std::string& assets) {
  if (name == "photo") return {"a photo of a {c}."};
  if (name == "name-only") return {"{c}"};
  if (name == "own") {
    if (listing.templates.empty()) {
      throw UsageError(
          str(options.where, "asks for its own templates, but ", options.path, " brings none"));
    }
    check_templates(listing.templates, options.path + "/zeroshot_classification_templates.txt");
    return listing.templates;
  }
  const bool preset = name == "openai80" || name == "simple";
  const std::string path = preset ? asset_path(assets, "templates/" + name + ".txt") : name;
  std::vector<std::string> templates = read_lines(path, "templates");
  check_templates(templates, path);
  return templates;
}

using Prompts = std::vector<std::vector<std::string>>;

/// A list with a list of prompts for each class, or a mapping from class name to one.
Prompts read_json_prompts(const std::string& path, const std::vector<std::string>& names) {
  try {
    const auto json = nlohmann::json::parse(read_file(path));
    Prompts prompts;
    for (std::size_t c = 0; c < names.size(); ++c) {
      const auto& list = json.is_array() ? json.at(c) : json.at(names[c]);
      prompts.push_back(list.get<std::vector<std::string>>());
      if (prompts.back().empty()) throw UsageError(path + ": no prompt for '" + names[c] + "'");
    }
    if (json.size() != names.size()) {
      throw UsageError(
          str(path, ": prompts for ", json.size(), " classes, but the set has ", names.size()));
    }
    return prompts;
  } catch (const nlohmann::json::exception& e) {
    throw UsageError(str(path, ": no list of prompts for each class: ", e.what()));
  }
}

void make_prompts(EvalSet& set, const Listing& listing, const std::string& suite_templates,
                  const std::string& assets) {
  const EvalSetOptions& o = set.options;
  const std::vector<std::string>& names =
      listing.column_names.empty() ? listing.class_names : listing.column_names;
  set.templates = !o.prompts.empty()     ? o.prompts
                  : !o.templates.empty() ? o.templates
                                         : suite_templates;
  if (set.templates.empty()) set.templates = listing.templates.empty() ? "openai80" : "own";
  if (fs::path(set.templates).extension() == ".json") {
    set.prompts = read_json_prompts(set.templates, names);
    return;
  }
  const std::vector<std::string> templates = find_templates(set.templates, listing, o, assets);
  for (const std::string& name : names) {
    auto& prompts = set.prompts.emplace_back();
    for (const std::string& text : templates) prompts.push_back(fill(text, name));
  }
}

/// Places of the classes that `options.classes` names, ascending.
std::vector<std::int32_t> chosen_classes(const EvalSetOptions& options, const Listing& listing,
                                         const std::string& assets) {
  std::vector<std::int32_t> chosen;
  if (options.classes == "present") {
    std::vector<std::int64_t> count(listing.class_names.size());
    for (const std::int32_t t : listing.targets) ++count[static_cast<std::size_t>(t)];
    for (std::size_t c = 0; c < count.size(); ++c) {
      if (count[c] >= options.min_images) chosen.push_back(static_cast<std::int32_t>(c));
    }
    return chosen;
  }
  const bool preset = options.classes == "in_r" || options.classes == "in_a";
  const std::string path =
      preset ? asset_path(assets, "imagenet_" + options.classes.substr(3) + "_wnids.txt")
             : options.classes;
  std::map<std::string, std::vector<std::int32_t>> places;  // wnid, name or index
  for (std::size_t c = 0; c < listing.class_names.size(); ++c) {
    const auto place = static_cast<std::int32_t>(c);
    places[listing.class_names[c]].push_back(place);
    if (!listing.wnids.empty()) places[listing.wnids[c]].push_back(place);
  }
  for (std::size_t c = 0; c < listing.class_names.size(); ++c) {
    // An index, unless it is some class's name.
    places.try_emplace(std::to_string(c), 1, static_cast<std::int32_t>(c));
  }
  const std::vector<std::string> lines = read_lines(path, "the class list");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto found = places.find(lines[i]);
    if (found == places.end() || found->second.size() != 1) {
      throw UsageError(str(path, ":", i + 1, ": '", lines[i], "' names ",
                           found == places.end() ? 0 : found->second.size(), " classes of ",
                           options.path, "; each line must be the wnid, name or index of one"));
    }
    chosen.push_back(found->second[0]);
  }
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

/// Keeps the chosen classes' columns and images; targets become positions in the list.
void restrict_classes(EvalSet& set, const std::vector<std::int32_t>& chosen) {
  std::vector<std::int32_t> position(set.class_names.size(), -1);
  std::vector<std::string> names;
  Prompts prompts;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto c = static_cast<std::size_t>(chosen[i]);
    position[c] = static_cast<std::int32_t>(i);
    names.push_back(set.class_names[c]);
    prompts.push_back(set.prompts[c]);
  }
  std::vector<ImageRef> items;
  std::vector<std::int32_t> targets;
  for (std::size_t i = 0; i < set.items.size(); ++i) {
    const std::int32_t target = position[static_cast<std::size_t>(set.targets[i])];
    if (target < 0) continue;
    items.push_back(std::move(set.items[i]));
    targets.push_back(target);
  }
  set.class_names = std::move(names);
  set.prompts = std::move(prompts);
  set.items = std::move(items);
  set.targets = std::move(targets);
}

}  // namespace

std::vector<std::string> layout_names() {
  std::vector<std::string> names;
  for (const Layout& layout : kLayouts) names.emplace_back(layout.name);
  return names;
}

std::string asset_path(const std::string& assets, const std::string& name) {
  return assets.empty() ? find_asset(name) : assets + "/" + name;
}

std::vector<std::string> read_lines(const std::string& path, const std::string& what) {
  if (!fs::is_regular_file(path)) throw UsageError(str("no file ", path, " (", what, ")"));
  std::vector<std::string> lines;
  std::istringstream text(read_file(path));
  for (std::string line; std::getline(text, line);) {
    const auto first = line.find_first_not_of(" \t\r");
    lines.push_back(first == std::string::npos
                        ? ""
                        : line.substr(first, line.find_last_not_of(" \t\r") - first + 1));
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

EvalSet open_eval_set(const EvalSetOptions& options, const std::string& suite_templates,
                      const std::string& assets) {
  const auto* layout = std::find_if(std::begin(kLayouts), std::end(kLayouts),
                                    [&](const Layout& l) { return options.layout == l.name; });
  if (layout == std::end(kLayouts)) {
    throw UsageError(str(options.where, "has the layout '", options.layout,
                         "', which this program does not read"));
  }
  if (!fs::is_directory(options.path)) {
    throw UsageError(str(options.where, "has the path '", options.path, "', which is no folder"));
  }
  Listing listing = layout->list(options, assets);
  if (listing.class_names.empty()) throw DataError(str(options.path, ": the set has no class"));
  EvalSet set;
  set.options = options;
  make_prompts(set, listing, suite_templates, assets);
  set.class_names = listing.class_names;
  set.class_of_column = listing.class_of_column;
  std::vector<std::int32_t> chosen;
  const bool restricted = !options.classes.empty() && options.layout != "objectnet";
  if (restricted) chosen = chosen_classes(options, listing, assets);
  set.items = std::move(listing.items);
  set.targets = std::move(listing.targets);
  if (restricted) restrict_classes(set, chosen);
  if (set.items.empty()) throw DataError(str(options.path, ": the set has no image"));
  return set;
}

}  // namespace plumbline
