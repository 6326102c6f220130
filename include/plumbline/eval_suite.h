// What is evaluated and what came out: the suite file, test sets on disk, metrics, result files.
// Free of torch; eval.h adds the models.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plumbline/stats.h"

namespace plumbline {

/// One entry of `sets:` in a suite file.
struct EvalSetOptions {
  std::string name;    ///< letters, digits, '.', '_', '-': also the name of a file
  std::string layout;  ///< webdataset | imagefolder | imagenet | ... (see layout_names)
  std::string path;
  std::string kind = "classification";  ///< classification | multilabel | retrieval | linear_probe
  std::string role;             ///< reference | shift; default: shift when `reference` is given
  std::string reference;        ///< name of the set that a shift is compared with
  std::string templates;        ///< for this set; empty: the suite's
  std::string prompts;          ///< file: templates, or JSON with a list of prompts for each class
  std::string names;            ///< file: line i = name of class i
  std::string split = "test";   ///< webdataset: the sub-folder; iwildcam, fmow: of the metadata
  std::string variant;          ///< imagenetv2: recorded in the results
  std::string classes;          ///< in_r | in_a | present | a file; empty: all
  std::string head = "own";     ///< objectnet: own (113 names) | imagenet (125 columns)
  int border_px = 2;            ///< objectnet: cropped from each side before the resize
  std::int64_t min_images = 1;  ///< `classes: present`: images a class must have
  /// linear_probe: where the probe learns and where its weight decay is chosen (empty: weight decay
  /// 0). Splits of webdataset, iwildcam and fmow, folders of the other layouts.
  std::string train, validation;
  std::int64_t shots = 0;  ///< linear_probe: training images a class; 0 = all
  bool normalise = true;   ///< linear_probe: unit-norm features
  std::string where;       ///< "FILE:LINE" for messages
};

struct EvalSuite {
  std::string path;
  /// openai80 | simple | photo | name-only | own | a file with {c}. Empty: a set's own templates
  /// where it brings some, else openai80.
  std::string templates;
  std::string classifier_cache = "auto";  ///< of `evaluate`: auto | off | a folder
  std::vector<EvalSetOptions> sets;
};

/// Reads SUITE.yaml; `overrides` are `--set` assignments. Throws UsageError naming file, line and
/// key for unknown keys and values, names used twice, a `reference` that is no set. Looks at no
/// data.
[[nodiscard]] EvalSuite read_suite(const std::string& path,
                                   const std::vector<std::string>& overrides = {});

/// Throws UsageError naming the first set whose folder does not exist: for callers that evaluate
/// only after hours of work.
void check_paths(const EvalSuite& suite);

/// Layouts that open_eval_set reads.
[[nodiscard]] std::vector<std::string> layout_names();

/// An encoded image: a whole file (bytes < 0) or a part of a shard.
struct ImageRef {
  std::string key;
  std::string file;
  std::int64_t offset = 0;
  std::int64_t bytes = -1;
};

/// The encoded bytes. Throws DataError naming file and key.
[[nodiscard]] std::vector<std::uint8_t> read_image_bytes(const ImageRef& image);

/// The images of `embed --images`: a LIST.txt (a path a line; key = the path as written), or shards
/// (braces, globs; key = the sample's key). Throws UsageError or DataError naming the place.
[[nodiscard]] std::vector<ImageRef> list_images(const std::string& list_or_shards);

/// A division of a set's images, for the accuracy of the worst group.
struct Grouping {
  std::string name;                    ///< region | year
  std::vector<std::string> groups;     ///< their names
  std::vector<std::int32_t> group_of;  ///< of each image; -1: of none
  std::string left_out;                ///< a group that cannot be the worst one
};

struct LabelledImages {
  std::vector<ImageRef> items;
  std::vector<std::int32_t> targets;
};

/// A test set as it is scored: after class restriction, prompts filled in.
struct EvalSet {
  EvalSetOptions options;
  std::string templates;  ///< what the prompts were made from, for the results
  std::vector<std::string> class_names;
  /// Of each column of the classifier; none for a linear probe.
  std::vector<std::vector<std::string>> prompts;
  /// Class of each column; empty: column i is class i. A class scores its largest column.
  std::vector<std::int32_t> class_of_column;
  std::vector<ImageRef> items;
  std::vector<std::int32_t> targets;  ///< in [0, classes); none for retrieval and multilabel
  std::vector<std::vector<std::int32_t>> labels;   ///< multilabel: classes of each image
  std::vector<std::vector<std::string>> captions;  ///< retrieval: of each image, at least one
  std::vector<Grouping> groupings;
  LabelledImages train, validation;  ///< linear_probe; the second may be empty
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(items.size()); }
};

/// The prompts of each class: every template with the class's name in its place.
///   templates  openai80 | simple | photo | name-only | a file with {c} in each line | a JSON file
///              with a list of prompts for each class
/// Throws UsageError naming the file and line of a bad template.
[[nodiscard]] std::vector<std::vector<std::string>> class_prompts(
    const std::vector<std::string>& names, const std::string& templates, const std::string& assets);

/// Lists images and labels and fills the prompts. `suite_templates` as in EvalSuite; `assets` holds
/// class names, wnids and templates (empty: the places of find_asset). Throws UsageError for
/// missing or unexpected class folders and unknown options, DataError naming shard and key for a
/// broken set.
[[nodiscard]] EvalSet open_eval_set(const EvalSetOptions& options,
                                    const std::string& suite_templates, const std::string& assets);

inline constexpr int kTopK = 5;

/// What a model said about one image: the best classes, best first, ties to the lower index.
struct Score {
  std::int32_t decoded = 0;  ///< 0: the image could not be decoded and leaves n
  std::array<std::int32_t, kTopK> ranked = {-1, -1, -1, -1, -1};
};

/// The kTopK largest of `logits`, ties to the lower index. With `class_of_column`, of the classes.
[[nodiscard]] Score rank_classes(std::span<const float> logits,
                                 std::span<const std::int32_t> class_of_column,
                                 std::int64_t classes);

struct Prediction {
  std::string key;
  std::int32_t target = 0;
  std::array<std::int32_t, kTopK> ranked = {};
};

/// Accuracy within the groups of a Grouping.
struct GroupResult {
  std::string name;
  std::vector<std::string> groups;
  std::vector<std::int64_t> n, correct;
  std::optional<double> worst;  ///< least accuracy of the groups with images, but for left_out
  std::string worst_group;
};

inline constexpr std::array<std::int64_t, 3> kRecallAt = {1, 5, 10};

/// How far down the right one stands among all candidates, from 0.
struct RetrievalResult {
  std::vector<std::string> image_keys;
  std::vector<std::int64_t> image_of_text;  ///< place in image_keys; captions in the set's order
  std::vector<std::int64_t> image_place;    ///< of each text: its image among all images
  std::vector<std::int64_t> text_place;     ///< of each image: the first of its texts among all
  /// Share of texts whose image, and of images one of whose texts, is among the first kRecallAt;
  /// none where there are fewer candidates than that.
  std::array<std::optional<double>, 3> image_recall, text_recall;
};

/// Images with any number of classes (multilabel.h).
struct MultilabelResult {
  std::vector<std::string> keys;
  std::vector<std::vector<std::int32_t>> labels;  ///< classes of each image
  std::vector<float> scores_NC;                   ///< image-major
  std::vector<double> average_precision;          ///< of each class
  std::vector<std::int64_t> positives;            ///< images of each class
  std::optional<double> mean;                     ///< of average_precision, over all classes
};

/// What a linear probe learned from.
struct ProbeResult {
  std::int64_t train_n = 0, validation_n = 0;  ///< images
  double weight_decay = 0;
};

/// Metrics of one set; empty where undefined.
struct SetResult {
  EvalSetOptions options;
  std::string templates;
  std::vector<std::string> class_names;
  std::int64_t n = 0;        ///< images scored
  std::int64_t skipped = 0;  ///< images that could not be decoded
  std::optional<double> top1;
  std::optional<double> top5;            ///< none below 5 classes
  std::optional<double> mean_per_class;  ///< mean recall of the classes present in the targets
  std::optional<Interval> ci95;          ///< of top1, Clopper-Pearson
  std::optional<Interval> mean_per_class_ci95;  ///< mean_recall_interval
  /// Mean over the classes present in the targets of 2 TP / (targets + predictions): a class that
  /// is only predicted adds no term, but costs the others precision.
  std::optional<double> macro_f1;
  std::vector<GroupResult> groups;
  std::optional<RetrievalResult> retrieval;
  std::optional<MultilabelResult> multilabel;
  std::optional<ProbeResult> probe;
  std::vector<std::int64_t> class_n, class_correct;
  double seconds = 0;
  std::vector<Prediction> predictions;  ///< in the order of the set, without skipped images
  [[nodiscard]] std::int64_t classes() const { return std::ssize(class_names); }
};

/// scores[i] belongs to set.items[i].
[[nodiscard]] SetResult measure(const EvalSet& set, std::span<const Score> scores);

/// Place (from 0) at which the first of `targets` stands when candidates are sorted by `scores`,
/// largest first, ties to the lower index. `targets` is not empty.
[[nodiscard]] std::int64_t best_place(std::span<const float> scores,
                                      std::span<const std::int64_t> targets);

/// Fills the recalls from the places.
void measure_recall(RetrievalResult& result);

/// How a checkpoint was merged from others, in the space of their weights.
struct MergeRecord {
  std::string kind;                 ///< interpolate | uniform | greedy
  std::vector<std::string> inputs;  ///< checkpoints
  std::optional<double> alpha;      ///< interpolate: the share of the second
};

struct EvalResults {
  std::string checkpoint;
  std::optional<std::int64_t> step, samples;
  std::string model;
  std::string kind = "contrastive";  ///< contrastive: scored by prompts | supervised: by its head
  std::optional<double> ema;         ///< decay of the averaged weights that were scored
  std::optional<MergeRecord> merge;
  std::vector<SetResult> sets;
};

/// DIR/results.json and DIR/predictions/SET.csv (`key,target,pred1,...`) or, of retrieval,
/// DIR/retrieval/SET.csv (`query,key,text,place`), of multilabel DIR/multilabel/SET.csv, each
/// atomically; makes the folders. One process writes.
void write_results(const EvalResults& results, const std::string& dir);

/// The accuracies with 95 % intervals as an aligned table, percent.
[[nodiscard]] std::string print_table(const EvalResults& results);

}  // namespace plumbline
