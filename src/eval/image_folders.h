// What the layouts with one folder a class share.
#pragma once

#include <string>
#include <vector>

#include "eval/layouts.h"

namespace plumbline {

/// Adds the images of root/folder (jpeg, jpg, png, webp; bytewise) with this target; key
/// "folder/file".
void append_images(Listing& listing, const std::filesystem::path& root, const std::string& folder,
                   std::int32_t target);

/// The first of `below` under `root` that holds the folder `probe`, else `root`.
[[nodiscard]] std::filesystem::path find_below(const std::filesystem::path& root,
                                               const std::vector<std::string>& below,
                                               const std::string& probe);

/// In index order.
struct ImageNetClasses {
  std::vector<std::string> wnids;
  std::vector<std::string> names;
};

/// From the assets; names from the set's `names` where given.
[[nodiscard]] ImageNetClasses imagenet_classes(const EvalSetOptions& options,
                                               const std::string& assets);

}  // namespace plumbline
