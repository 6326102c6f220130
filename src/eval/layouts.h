// How test sets lie on disk. A layout lists images, labels and class names; the rest (prompts,
// restriction, scoring) is the same for all. Adding one: a function and a line in eval_set.cpp.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "plumbline/eval_suite.h"

namespace plumbline {

/// What a layout finds before any option of the suite but `path`, `split`, `names` and `head` is
/// looked at.
struct Listing {
  std::vector<std::string> class_names;
  std::vector<std::string> wnids;             ///< of the classes, where the layout has them
  std::vector<std::string> templates;         ///< brought by the set itself
  std::vector<std::string> column_names;      ///< empty: the class names
  std::vector<std::int32_t> class_of_column;  ///< empty: the identity
  std::vector<ImageRef> items;
  std::vector<std::int32_t> targets;
  std::vector<std::vector<std::int32_t>> labels;   ///< of the kind multilabel
  std::vector<std::vector<std::string>> captions;  ///< of the kind retrieval
  std::vector<Grouping> groupings;
};

using LayoutFunction = Listing (*)(const EvalSetOptions& options, const std::string& assets);

[[nodiscard]] Listing list_webdataset(const EvalSetOptions&, const std::string& assets);
[[nodiscard]] Listing list_imagefolder(const EvalSetOptions&, const std::string& assets);
[[nodiscard]] Listing list_imagenet(const EvalSetOptions&, const std::string& assets);
[[nodiscard]] Listing list_imagenetv2(const EvalSetOptions&, const std::string& assets);
[[nodiscard]] Listing list_imagenet_sketch(const EvalSetOptions&, const std::string& assets);
[[nodiscard]] Listing list_imagenet_r(const EvalSetOptions&, const std::string& assets);
[[nodiscard]] Listing list_imagenet_a(const EvalSetOptions&, const std::string& assets);
[[nodiscard]] Listing list_objectnet(const EvalSetOptions&, const std::string& assets);
[[nodiscard]] Listing list_iwildcam(const EvalSetOptions&, const std::string& assets);
[[nodiscard]] Listing list_fmow(const EvalSetOptions&, const std::string& assets);

/// Layouts whose folder holds every split; of the others a split is a folder of its own.
[[nodiscard]] bool has_splits(const std::string& layout);

/// The asset `name` in the folder `assets`, or where find_asset finds it when that is empty.
[[nodiscard]] std::string asset_path(const std::string& assets, const std::string& name);

/// Lines of a file without surrounding white space; empty lines at the end are dropped. Throws
/// UsageError when the file does not exist; `what` says what it is for.
[[nodiscard]] std::vector<std::string> read_lines(const std::string& path, const std::string& what);

/// One group of members that share a key.
struct ShardSample {
  std::string key;
  ImageRef image;                    ///< bytes < 0: the group has no image
  std::optional<std::string> label;  ///< content of the .cls member
  std::optional<std::string> text;   ///< content of the .txt member
  std::optional<std::string> array;  ///< content of the .npy member
};

/// The groups of a plain tar in order. Throws DataError naming the shard.
void visit_shard(const std::string& path, const std::function<void(const ShardSample&)>& visit);

}  // namespace plumbline
