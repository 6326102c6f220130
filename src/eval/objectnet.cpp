// ObjectNet: 113 of its 313 folders are ImageNet classes, nine of them two or three.
#include <algorithm>
#include <set>

#include "eval/image_folders.h"
#include "plumbline/error.h"

namespace plumbline {

namespace fs = std::filesystem;

namespace {

/// Folder and ImageNet index of each column, by index, from a CSV with wnid and objectnet_folder.
std::vector<std::pair<std::size_t, std::string>> objectnet_columns(
    const EvalSetOptions& options, const std::vector<std::string>& wnids) {
  if (options.classes.empty()) {
    throw UsageError(str(options.where, "needs 'classes': a CSV with the columns wnid and ",
                         "objectnet_folder, which class a folder is"));
  }
  const auto cells = [](const std::string& line) {
    std::vector<std::string> out(1);
    for (const char c : line) {
      if (c == ',') {
        out.emplace_back();
      } else {
        out.back() += c;
      }
    }
    return out;
  };
  const std::vector<std::string> lines = read_lines(options.classes, "ObjectNet's classes");
  const std::vector<std::string> header = cells(lines.empty() ? "" : lines[0]);
  const auto column = [&](const std::string& name) {
    const auto at = std::find(header.begin(), header.end(), name);
    if (at == header.end()) throw UsageError(str(options.classes, ":1: no column '", name, "'"));
    return static_cast<std::size_t>(at - header.begin());
  };
  const std::size_t wnid_at = column("wnid"), folder_at = column("objectnet_folder");
  std::vector<std::pair<std::size_t, std::string>> columns;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string> row = cells(lines[i]);
    if (row.size() <= std::max(wnid_at, folder_at) || row[folder_at].empty()) continue;
    const auto wnid = std::find(wnids.begin(), wnids.end(), row[wnid_at]);
    if (wnid == wnids.end()) {
      throw UsageError(
          str(options.classes, ":", i + 1, ": '", row[wnid_at], "' is no wnid of ImageNet"));
    }
    columns.emplace_back(wnid - wnids.begin(), row[folder_at]);
  }
  if (columns.empty()) throw UsageError(str(options.classes, ": names no ObjectNet folder"));
  std::sort(columns.begin(), columns.end());
  return columns;
}

std::string words_of(std::string folder) {
  std::replace(folder.begin(), folder.end(), '_', ' ');
  std::transform(folder.begin(), folder.end(), folder.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return folder;
}

}  // namespace

Listing list_objectnet(const EvalSetOptions& options, const std::string& assets) {
  EvalSetOptions imagenet = options;
  imagenet.names.clear();
  const ImageNetClasses all = imagenet_classes(imagenet, assets);
  const auto columns = objectnet_columns(options, all.wnids);
  std::set<std::string> unique;
  for (const auto& [index, folder] : columns) unique.insert(folder);
  const std::vector<std::string> folders(unique.begin(), unique.end());
  const fs::path root =
      find_below(options.path, {"objectnet-1.0/images", "images"}, folders.front());
  Listing listing;
  for (const std::string& folder : folders) {
    if (!fs::is_directory(root / folder)) {
      throw UsageError(str(root.string(), ": the class folder '", folder, "' is missing"));
    }
    append_images(listing, root, folder, static_cast<std::int32_t>(listing.class_names.size()));
    listing.class_names.push_back(words_of(folder));
  }
  if (!options.names.empty()) listing.class_names = read_lines(options.names, "class names");
  if (listing.class_names.size() != folders.size()) {
    throw UsageError(str(options.names, ": ", listing.class_names.size(), " names for ",
                         folders.size(), " ObjectNet classes"));
  }
  if (options.head == "imagenet") {
    for (const auto& [index, folder] : columns) {
      const auto at = std::lower_bound(folders.begin(), folders.end(), folder) - folders.begin();
      listing.column_names.push_back(all.names[index]);
      listing.class_of_column.push_back(static_cast<std::int32_t>(at));
    }
  }
  return listing;
}

}  // namespace plumbline
