// Layouts with one folder a class: imagefolder, and ImageNet with its shifts, whose folders are
// wnids or indices.
#include <algorithm>
#include <charconv>
#include <set>

#include "eval/image_folders.h"
#include "plumbline/error.h"

namespace plumbline {
namespace fs = std::filesystem;

namespace {

bool is_image_file(const fs::path& path) {
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return path.filename().string()[0] != '.' &&
         (suffix == ".jpeg" || suffix == ".jpg" || suffix == ".png" || suffix == ".webp");
}

/// Names of the sub-folders, bytewise; hidden ones are no classes.
std::vector<std::string> sub_folders(const fs::path& root) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name[0] != '.') names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

void append_images(Listing& listing, const fs::path& root, const std::string& folder,
                   std::int32_t target) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(root / folder)) {
    if (is_image_file(entry.path())) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    listing.items.push_back({folder + "/" + name, (root / folder / name).string()});
    listing.targets.push_back(target);
  }
}

fs::path find_below(const fs::path& root, const std::vector<std::string>& below,
                    const std::string& probe) {
  for (const std::string& name : below) {
    if (fs::is_directory(root / name / probe)) return root / name;
  }
  return root;
}

ImageNetClasses imagenet_classes(const EvalSetOptions& options, const std::string& assets) {
  ImageNetClasses classes;
  classes.wnids = read_lines(asset_path(assets, "imagenet_wnids.txt"), "the wnids of ImageNet");
  classes.names = read_lines(
      options.names.empty() ? asset_path(assets, "imagenet_classnames.txt") : options.names,
      "class names");
  if (classes.names.size() != classes.wnids.size()) {
    throw UsageError(str(options.where, "has ", classes.names.size(), " class names, but ImageNet ",
                         classes.wnids.size(), " classes"));
  }
  return classes;
}

namespace {

/// Exactly the expected folders must be there: another set under this path would permute labels.
void check_folders(const fs::path& root, const std::vector<std::string>& expected) {
  const std::vector<std::string> found = sub_folders(root);
  const std::set<std::string> have(found.begin(), found.end());
  const std::set<std::string> want(expected.begin(), expected.end());
  for (const std::string& name : expected) {
    if (!have.contains(name)) {
      throw UsageError(str(root.string(), ": the class folder '", name, "' is missing"));
    }
  }
  for (const std::string& name : found) {
    if (!want.contains(name)) {
      throw UsageError(str(root.string(), ": the folder '", name, "' is no class of this layout"));
    }
  }
}

/// Folders are the wnids of `subset` (a sorted part of ImageNet's).
Listing list_wnids(const fs::path& root, const ImageNetClasses& all,
                   const std::vector<std::string>& subset) {
  check_folders(root, subset);
  Listing listing;
  for (const std::string& wnid : subset) {
    const auto at = std::find(all.wnids.begin(), all.wnids.end(), wnid) - all.wnids.begin();
    require(at < std::ssize(all.wnids), "a listed wnid is no ImageNet class");
    append_images(listing, root, wnid, static_cast<std::int32_t>(listing.wnids.size()));
    listing.wnids.push_back(wnid);
    listing.class_names.push_back(all.names[static_cast<std::size_t>(at)]);
  }
  return listing;
}

Listing list_wnid_subset(const EvalSetOptions& options, const std::string& assets,
                         const std::string& list) {
  std::vector<std::string> subset = read_lines(asset_path(assets, list), "the wnids of the set");
  std::sort(subset.begin(), subset.end());
  return list_wnids(options.path, imagenet_classes(options, assets), subset);
}

}  // namespace

Listing list_imagefolder(const EvalSetOptions& options, const std::string&) {
  Listing listing;
  const std::vector<std::string> folders = sub_folders(options.path);
  if (folders.empty()) throw UsageError(str(options.path, ": no class folder in it"));
  listing.class_names = options.names.empty() ? folders : read_lines(options.names, "class names");
  if (listing.class_names.size() != folders.size()) {
    throw UsageError(str(options.names, ": ", listing.class_names.size(), " names for ",
                         folders.size(), " class folders of ", options.path));
  }
  for (std::size_t i = 0; i < folders.size(); ++i) {
    append_images(listing, options.path, folders[i], static_cast<std::int32_t>(i));
  }
  return listing;
}

Listing list_imagenet(const EvalSetOptions& options, const std::string& assets) {
  const ImageNetClasses all = imagenet_classes(options, assets);
  return list_wnids(find_below(options.path, {"val"}, all.wnids.at(0)), all, all.wnids);
}

Listing list_imagenet_sketch(const EvalSetOptions& options, const std::string& assets) {
  const ImageNetClasses all = imagenet_classes(options, assets);
  const fs::path root = find_below(options.path, {"sketch", "imagenet_sketch"}, all.wnids.at(0));
  return list_wnids(root, all, all.wnids);
}

Listing list_imagenet_r(const EvalSetOptions& options, const std::string& assets) {
  return list_wnid_subset(options, assets, "imagenet_r_wnids.txt");
}

Listing list_imagenet_a(const EvalSetOptions& options, const std::string& assets) {
  return list_wnid_subset(options, assets, "imagenet_a_wnids.txt");
}

// The folder's number is the class: bytewise order (0, 1, 10, 100, ...) would permute labels
// without any error.
Listing list_imagenetv2(const EvalSetOptions& options, const std::string& assets) {
  const ImageNetClasses all = imagenet_classes(options, assets);
  std::vector<std::string> folders;
  for (std::size_t i = 0; i < all.wnids.size(); ++i) folders.push_back(std::to_string(i));
  check_folders(options.path, folders);
  Listing listing;
  listing.class_names = all.names;
  listing.wnids = all.wnids;
  for (std::size_t i = 0; i < folders.size(); ++i) {
    append_images(listing, options.path, folders[i], static_cast<std::int32_t>(i));
  }
  return listing;
}

}  // namespace plumbline
