// ObjectNet: 113 of its 313 folders are ImageNet classes, nine of them two or three.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "eval/image_folders.h"
#include "plumbline/error.h"
#include "report/csv.h"

namespace plumbline {

namespace fs = std::filesystem;

namespace {

/// A class of ImageNet that is (a part of) an ObjectNet folder.
struct Column {
  std::size_t index = 0;
  std::string folder;
  std::string label;  ///< of the folder, lower-case
  auto operator<=>(const Column&) const = default;
};
using Columns = std::vector<Column>;

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string words_of(std::string folder) {
  std::replace(folder.begin(), folder.end(), '_', ' ');
  return lower_case(std::move(folder));
}

/// From a CSV with wnid and objectnet_folder.
Columns columns_of_table(const std::string& path, const std::vector<std::string>& wnids) {
  if (!fs::is_regular_file(path)) throw UsageError(str("no file ", path, " (ObjectNet's classes)"));
  const CsvTable table = read_csv(path);
  const auto column = [&](const std::string& name) {
    const auto at = table.column(name);
    if (!at) throw UsageError(str(path, ":1: no column '", name, "'"));
    return *at;
  };
  const std::size_t wnid_at = column("wnid"), folder_at = column("objectnet_folder");
  Columns columns;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::vector<std::string>& row = table.rows[i];
    if (row[folder_at].empty()) continue;
    const auto wnid = std::find(wnids.begin(), wnids.end(), row[wnid_at]);
    if (wnid == wnids.end()) {
      throw UsageError(
          str(path, ":", table.line_of_row[i], ": '", row[wnid_at], "' is no wnid of ImageNet"));
    }
    columns.push_back(
        {static_cast<std::size_t>(wnid - wnids.begin()), row[folder_at], words_of(row[folder_at])});
  }
  return columns;
}

using Json = nlohmann::json;

Json read_mapping(const fs::path& path) {
  if (!fs::is_regular_file(path)) throw UsageError(str("no file ", path.string(), " (ObjectNet)"));
  Json json = Json::parse(read_file(path.string()), nullptr, false);
  if (!json.is_object()) throw UsageError(str(path.string(), ": no JSON object"));
  return json;
}

/// ImageNet index of each class name of the release: line i of imagenet_to_label_2012_v2 is the
/// i-th class of the 2012 challenge's order, which pytorch_to_imagenet_2012_id.json translates.
std::map<std::string, std::size_t> release_indices(const fs::path& mappings) {
  std::map<std::int64_t, std::size_t> index_of_id;
  const fs::path ids = mappings / "pytorch_to_imagenet_2012_id.json";
  const Json json = read_mapping(ids);
  for (const auto& [index, id] : json.items()) {
    index_of_id[id.get<std::int64_t>()] = std::stoul(index);
  }
  const std::string labels = (mappings / "imagenet_to_label_2012_v2").string();
  const std::vector<std::string> lines =
      read_lines(labels, "ObjectNet's names of ImageNet classes");
  std::map<std::string, std::size_t> indices;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto found = index_of_id.find(static_cast<std::int64_t>(i));
    if (found == index_of_id.end()) {
      throw UsageError(str(labels, ":", i + 1, ": ", ids.string(), " gives this class no index"));
    }
    indices.emplace(lines[i], found->second);
  }
  return indices;
}

/// The parts of a text between "; ".
std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t to = std::min(text.find("; ", from), text.size());
    names.push_back(text.substr(from, to - from));
    from = to + 2;
  }
  return names;
}

/// From the release's folder `mappings`: folder -> label, label -> names of ImageNet classes
/// separated by "; ", and, where the classifier is ImageNet's, name -> index.
Columns columns_of_release(const fs::path& mappings, bool with_index, std::size_t classes) {
  const Json labels = read_mapping(mappings / "folder_to_objectnet_label.json");
  const fs::path names_path = mappings / "objectnet_to_imagenet_1k.json";
  const Json names = read_mapping(names_path);
  std::map<std::string, std::size_t> indices;
  if (with_index) indices = release_indices(mappings);
  std::map<std::string, std::string> folder_of_label;
  for (const auto& [folder, label] : labels.items()) {
    folder_of_label[label.get<std::string>()] = folder;
  }
  Columns columns;
  for (const auto& [label, list] : names.items()) {
    const auto folder = folder_of_label.find(label);
    if (folder == folder_of_label.end()) {
      throw UsageError(str(names_path.string(), ": '", label, "' is the label of no folder"));
    }
    for (const std::string& name : split_names(list.get<std::string>())) {
      Column column{0, folder->second, lower_case(label)};
      if (with_index) {
        const auto found = indices.find(name);
        if (found == indices.end() || found->second >= classes) {
          throw UsageError(
              str(names_path.string(), ": '", name, "' of '", label, "' is no class of ImageNet"));
        }
        column.index = found->second;
      }
      columns.push_back(std::move(column));
    }
  }
  return columns;
}

/// Folder and ImageNet index of each column, by index: from `classes` (a CSV, or the release's
/// folder of mappings), else from the mappings beside the images.
Columns objectnet_columns(const EvalSetOptions& options, const std::vector<std::string>& wnids) {
  fs::path source = options.classes;
  if (options.classes.empty()) {
    source = find_below(options.path, {"objectnet-1.0"}, "mappings") / "mappings";
    if (!fs::is_directory(source)) {
      throw UsageError(
          str(options.where, "needs 'classes', which folder is which class: a CSV with ",
              "the columns wnid and objectnet_folder, or the release's folder mappings"));
    }
  }
  Columns columns;
  try {
    columns = fs::is_directory(source)
                  ? columns_of_release(source, options.head == "imagenet", wnids.size())
                  : columns_of_table(source.string(), wnids);
  } catch (const std::logic_error& e) {  // of std::stoul
    throw UsageError(str(source.string(), ": not the mappings of ObjectNet: ", e.what()));
  } catch (const Json::exception& e) {
    throw UsageError(str(source.string(), ": not the mappings of ObjectNet: ", e.what()));
  }
  if (columns.empty()) throw UsageError(str(source.string(), ": names no ObjectNet folder"));
  std::sort(columns.begin(), columns.end());
  return columns;
}

}  // namespace

Listing list_objectnet(const EvalSetOptions& options, const std::string& assets) {
  EvalSetOptions imagenet = options;
  imagenet.names.clear();
  const ImageNetClasses all = imagenet_classes(imagenet, assets);
  const auto columns = objectnet_columns(options, all.wnids);
  std::map<std::string, std::string> label_of;
  for (const Column& column : columns) label_of[column.folder] = column.label;
  std::vector<std::string> folders;
  for (const auto& [folder, label] : label_of) folders.push_back(folder);
  const fs::path root =
      find_below(options.path, {"objectnet-1.0/images", "images"}, folders.front());
  Listing listing;
  for (const std::string& folder : folders) {
    if (!fs::is_directory(root / folder)) {
      throw UsageError(str(root.string(), ": the class folder '", folder, "' is missing"));
    }
    append_images(listing, root, folder, static_cast<std::int32_t>(listing.class_names.size()));
    listing.class_names.push_back(label_of[folder]);
  }
  if (!options.names.empty()) listing.class_names = read_lines(options.names, "class names");
  if (listing.class_names.size() != folders.size()) {
    throw UsageError(str(options.names, ": ", listing.class_names.size(), " names for ",
                         folders.size(), " ObjectNet classes"));
  }
  if (options.head == "imagenet") {
    for (const Column& column : columns) {
      const auto at = std::lower_bound(folders.begin(), folders.end(), column.folder);
      listing.column_names.push_back(all.names[column.index]);
      listing.class_of_column.push_back(static_cast<std::int32_t>(at - folders.begin()));
    }
  }
  return listing;
}

}  // namespace plumbline
