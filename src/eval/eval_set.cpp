// From a layout's listing to the set that is scored: prompts and class restriction.
#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/assets.h"
#include "core/file.h"
#include "data/siphash.h"
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
    {"iwildcam", list_iwildcam},
    {"fmow", list_fmow},
};

/// "an oil or gas facility" for oil_or_gas_facility.
std::string with_article(std::string name) {
  const bool vowel = !name.empty() && std::string("aeiou").find(name[0]) != std::string::npos;
  std::replace(name.begin(), name.end(), '_', ' ');
  return str(vowel ? "an " : "a ", name);
}

/// {c} is the name, {a} the name as words behind its article.
std::string fill(const std::string& text, const std::string& name) {
  std::string out;
  std::size_t from = 0;
  for (auto at = text.find('{'); at != std::string::npos; at = text.find('{', at + 1)) {
    const std::string place = text.substr(at, 3);
    if (place != "{c}" && place != "{a}") continue;
    out.append(text, from, at - from).append(place == "{c}" ? name : with_article(name));
    from = at + 3;
  }
  return out.append(text, from);
}

void check_templates(const std::vector<std::string>& templates, const std::string& from) {
  if (templates.empty()) throw UsageError(str(from, ": no template in it"));
  for (std::size_t i = 0; i < templates.size(); ++i) {
    if (templates[i].find("{c}") == std::string::npos &&
        templates[i].find("{a}") == std::string::npos) {
      throw UsageError(
          str(from, ":", i + 1, ": the template '", templates[i], "' does not hold {c}"));
    }
  }
}

std::vector<std::string> find_templates(const std::string& name, const std::string& assets) {
  if (name == "photo") return {"a photo of a {c}."};
  if (name == "name-only") return {"{c}"};
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
    // A mapping may name more classes than the set has: shifts often lack some of the reference's.
    if (json.is_array() && json.size() != names.size()) {
      throw UsageError(
          str(path, ": prompts for ", json.size(), " classes, but the set has ", names.size()));
    }
    return prompts;
  } catch (const nlohmann::json::exception& e) {
    throw UsageError(str(path, ": no list of prompts for each class: ", e.what()));
  }
}

Prompts fill_all(const std::vector<std::string>& templates, const std::vector<std::string>& names) {
  Prompts prompts;
  for (const std::string& name : names) {
    std::vector<std::string>& of_class = prompts.emplace_back();
    for (const std::string& text : templates) of_class.push_back(fill(text, name));
  }
  return prompts;
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
  if (set.templates == "own") {
    if (listing.templates.empty()) {
      throw UsageError(str(o.where, "asks for its own templates, but ", o.path, " brings none"));
    }
    check_templates(listing.templates, o.path + "/zeroshot_classification_templates.txt");
    set.prompts = fill_all(listing.templates, names);
  } else {
    set.prompts = class_prompts(names, set.templates, assets);
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

/// Place of each class in the chosen list; -1 where it is not in it.
std::vector<std::int32_t> positions(const std::vector<std::int32_t>& chosen, std::size_t classes) {
  std::vector<std::int32_t> position(classes, -1);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    position[static_cast<std::size_t>(chosen[i])] = static_cast<std::int32_t>(i);
  }
  return position;
}

/// Keeps the chosen classes' columns and images; targets become positions in the list.
void restrict_classes(EvalSet& set, const std::vector<std::int32_t>& chosen) {
  const std::vector<std::int32_t> position = positions(chosen, set.class_names.size());
  std::vector<std::string> names;
  Prompts prompts;
  for (const std::int32_t c : chosen) {
    names.push_back(set.class_names[static_cast<std::size_t>(c)]);
    if (!set.prompts.empty()) prompts.push_back(set.prompts[static_cast<std::size_t>(c)]);
  }
  std::vector<ImageRef> items;
  std::vector<std::int32_t> targets;
  std::vector<Grouping> groupings = set.groupings;
  for (Grouping& grouping : groupings) grouping.group_of.clear();
  for (std::size_t i = 0; i < set.items.size(); ++i) {
    const std::int32_t target = position[static_cast<std::size_t>(set.targets[i])];
    if (target < 0) continue;
    items.push_back(std::move(set.items[i]));
    targets.push_back(target);
    for (std::size_t g = 0; g < groupings.size(); ++g) {
      groupings[g].group_of.push_back(set.groupings[g].group_of[i]);
    }
  }
  set.groupings = std::move(groupings);
  set.class_names = std::move(names);
  set.prompts = std::move(prompts);
  set.items = std::move(items);
  set.targets = std::move(targets);
}

/// The `shots` images of each class with the smallest keyed hash, in the order of the list.
void keep_shots(LabelledImages& images, std::int64_t shots, const EvalSet& set) {
  std::vector<std::vector<std::pair<std::uint64_t, std::size_t>>> of_class(set.class_names.size());
  for (std::size_t i = 0; i < images.items.size(); ++i) {
    of_class[static_cast<std::size_t>(images.targets[i])].emplace_back(siphash(images.items[i].key),
                                                                       i);
  }
  std::vector<std::size_t> kept;
  for (std::size_t c = 0; c < of_class.size(); ++c) {
    if (std::ssize(of_class[c]) < shots) {
      throw UsageError(str(set.options.where, "asks for ", shots, " shots a class, but '",
                           set.class_names[c], "' has ", of_class[c].size(), " images to learn ",
                           "from"));
    }
    std::sort(of_class[c].begin(), of_class[c].end());
    for (std::int64_t k = 0; k < shots; ++k) {
      kept.push_back(of_class[c][static_cast<std::size_t>(k)].second);
    }
  }
  std::sort(kept.begin(), kept.end());
  LabelledImages few;
  for (const std::size_t i : kept) {
    few.items.push_back(images.items[i]);
    few.targets.push_back(images.targets[i]);
  }
  images = std::move(few);
}

/// The images of another split of the set, restricted to the same classes.
///   names   of all classes of the set
///   chosen  those that are kept; empty: all
LabelledImages list_split(const Layout& layout, EvalSetOptions options, const std::string& split,
                          const std::vector<std::string>& names,
                          const std::vector<std::int32_t>& chosen, const std::string& assets) {
  (has_splits(options.layout) ? options.split : options.path) = split;
  if (!fs::is_directory(options.path)) {
    throw UsageError(str(options.where, "learns from '", options.path, "', which is no folder"));
  }
  const Listing listing = layout.list(options, assets);
  if (listing.class_names != names) {
    throw UsageError(str(options.where, "has other classes in '", split, "' than in the split ",
                         "that is scored"));
  }
  const std::vector<std::int32_t> position = positions(chosen, names.size());
  LabelledImages images;
  for (std::size_t i = 0; i < listing.items.size(); ++i) {
    const std::int32_t target = listing.targets[i];
    const std::int32_t kept = chosen.empty() ? target : position[static_cast<std::size_t>(target)];
    if (kept < 0) continue;
    images.items.push_back(listing.items[i]);
    images.targets.push_back(kept);
  }
  if (images.items.empty()) {
    throw DataError(str(options.path, ": no image to learn from in '", split, "'"));
  }
  return images;
}

}  // namespace

bool has_splits(const std::string& layout) {
  return layout == "webdataset" || layout == "iwildcam" || layout == "fmow";
}

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

Prompts class_prompts(const std::vector<std::string>& names, const std::string& templates,
                      const std::string& assets) {
  if (fs::path(templates).extension() == ".json") return read_json_prompts(templates, names);
  return fill_all(find_templates(templates, assets), names);
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
  if (options.kind == "retrieval" && options.layout != "webdataset") {
    throw UsageError(str(options.where, "has the kind retrieval, which only the layout webdataset ",
                         "has captions for"));
  }
  if (options.kind == "multilabel" && options.layout != "webdataset") {
    throw UsageError(str(options.where, "has the kind multilabel, which only the layout ",
                         "webdataset has labels for"));
  }
  Listing listing = layout->list(options, assets);
  EvalSet set;
  set.options = options;
  if (options.kind == "retrieval") {
    set.items = std::move(listing.items);
    set.captions = std::move(listing.captions);
    if (set.items.empty()) throw DataError(str(options.path, ": the set has no image"));
    return set;
  }
  if (listing.class_names.empty()) throw DataError(str(options.path, ": the set has no class"));
  const bool probe = options.kind == "linear_probe";
  if (!probe) {
    make_prompts(set, listing, suite_templates, assets);
    set.class_of_column = listing.class_of_column;
  }
  set.class_names = listing.class_names;
  std::vector<std::int32_t> chosen;
  const bool restricted = !options.classes.empty() && options.layout != "objectnet";
  if (restricted) chosen = chosen_classes(options, listing, assets);
  set.items = std::move(listing.items);
  set.targets = std::move(listing.targets);
  set.labels = std::move(listing.labels);
  set.groupings = std::move(listing.groupings);
  if (restricted) restrict_classes(set, chosen);
  if (set.items.empty()) throw DataError(str(options.path, ": the set has no image"));
  if (probe) {
    const std::vector<std::string>& names = listing.class_names;
    set.train = list_split(*layout, options, options.train, names, chosen, assets);
    if (options.shots > 0) keep_shots(set.train, options.shots, set);
    if (!options.validation.empty()) {
      set.validation = list_split(*layout, options, options.validation, names, chosen, assets);
    }
  }
  return set;
}

}  // namespace plumbline
