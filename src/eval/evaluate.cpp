// Every set of a suite on all ranks: each scores its share of the images, all gather the scores and
// compute the same metrics.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "dist/agree.h"
#include "eval/eval_mode.h"
#include "eval/features.h"
#include "eval/linear_probe.h"
#include "eval/multilabel.h"
#include "eval/retrieval.h"
#include "eval/set_bytes.h"
#include "eval/zero_shot.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using Clock = std::chrono::steady_clock;

/// Rank 0 lists the folders; with many ranks the file system would see the same reads from each.
std::vector<EvalSet> open_sets(const EvalSuite& suite, EvalContext& context) {
  std::vector<EvalSet> sets(suite.sets.size());
  agree(context.host, [&] {
    if (context.host.rank() != 0) return;
    for (std::size_t i = 0; i < sets.size(); ++i) {
      sets[i] = open_eval_set(suite.sets[i], suite.templates, context.assets);
    }
  });
  if (context.host.size() == 1) return sets;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const bool root = context.host.rank() == 0;
    const std::string bytes = context.host.broadcast_bytes(root ? pack(sets[i]) : std::string(), 0);
    if (!root) sets[i] = unpack(bytes, suite.sets[i]);
  }
  return sets;
}

/// Unit features of images to the logits of a set's columns.
using Head = std::function<at::Tensor(const at::Tensor& features_BD)>;

/// Columns of a classifier's own head that are the classes of the set, by name.
std::vector<std::int64_t> head_columns(const EvalSet& set, const ModelOptions& model) {
  const auto problem = [&](const std::string& why) {
    return AgreedError(
        str("evaluating ", set.options.name, " with the classifier ", model.name, ": ", why),
        ExitCode::usage);
  };
  if (!set.class_of_column.empty()) throw problem("the set scores several columns a class");
  std::vector<std::int64_t> columns;
  for (const std::string& name : set.class_names) {
    const auto found = std::find(model.class_names.begin(), model.class_names.end(), name);
    if (found == model.class_names.end()) throw problem(str("it has no class '", name, "'"));
    columns.push_back(found - model.class_names.begin());
  }
  return columns;
}

/// A classifier's own head, else the prompts.
Head head_of(const EvalSet& set, Classifiers& classifiers, EvalContext& context) {
  if (!context.model.is_classifier()) {
    return [weights_CD = classifiers.weights(set.prompts)](const at::Tensor& features_BD) {
      return torch::matmul(100.0F * features_BD, weights_CD.t());
    };
  }
  const at::Tensor columns =
      torch::tensor(head_columns(set, context.model.options()), torch::kLong);
  return [&context, columns = columns.to(context.device)](const at::Tensor& features_BD) {
    return context.model.class_logits(features_BD).index_select(1, columns);
  };
}

/// Adds the scores of a batch.
void score_batch(const EvalSet& set, const ImageBatch& batch, const at::Tensor& features_BD,
                 const Head& head, std::vector<Score>& scores) {
  const at::Tensor logits_BC = head(features_BD).to(torch::kCPU).contiguous();
  const auto columns = static_cast<std::size_t>(logits_BC.size(1));
  const auto classes = std::ssize(set.class_names);
  for (std::size_t i = 0; i < batch.refused.size(); ++i) {
    if (!batch.refused[i].empty()) {
      scores.emplace_back();
      continue;
    }
    const std::span<const float> logits(logits_BC.data_ptr<float>() + i * columns, columns);
    for (const float logit : logits) {
      if (!std::isfinite(logit)) {
        const ImageRef& item = set.items[static_cast<std::size_t>(batch.first) + i];
        throw Error(str("evaluating ", set.options.name, ": the model's output for image '",
                        item.key, "' is not finite"));
      }
    }
    scores.push_back(rank_classes(logits, set.class_of_column, classes));
  }
}

std::vector<Score> gather_scores(const std::vector<Score>& mine, Communicator& host) {
  const auto* bytes = reinterpret_cast<const char*>(mine.data());
  const std::vector<std::string> parts =
      host.all_gather_bytes(std::string(bytes, mine.size() * sizeof(Score)));
  std::vector<Score> all;
  for (const std::string& part : parts) {
    const std::size_t old = all.size();
    all.resize(old + part.size() / sizeof(Score));
    if (!part.empty()) std::memcpy(all.data() + old, part.data(), part.size());
  }
  return all;
}

SetResult score_classes(const EvalSet& set, Classifiers& classifiers, EvalContext& context) {
  const Head head = head_of(set, classifiers, context);
  const int border = set.options.layout == "objectnet" ? set.options.border_px : 0;
  const ImageList list{set.options.name, set.items, border};
  std::vector<Score> mine;
  const std::string refused =
      visit_features(list, context, [&](const ImageBatch& batch, const at::Tensor& features_BD) {
        score_batch(set, batch, features_BD, head, mine);
      });
  SetResult result = measure(set, gather_scores(mine, context.host));
  check_skipped(list, result.skipped, refused, context.host);
  if (context.model.is_classifier()) result.templates.clear();
  return result;
}

/// Every rank ends with rank 0's scores.
SetResult score_multilabel(const EvalSet& set, Classifiers& classifiers, EvalContext& context) {
  const Head head = head_of(set, classifiers, context);
  const AllFeatures images = gather_image_features({set.options.name, set.items, 0}, context);
  std::string bytes;
  agree(context.host, [&] {
    if (context.host.rank() != 0 || images.decoded.empty()) return;
    const at::Tensor logits_NC =
        head(images.features_ND.to(context.device)).to(torch::kCPU, torch::kFloat).contiguous();
    bytes.assign(reinterpret_cast<const char*>(logits_NC.data_ptr<float>()), logits_NC.nbytes());
  });
  bytes = context.host.broadcast_bytes(bytes, 0);
  std::vector<float> scores_NC(bytes.size() / sizeof(float));
  if (!bytes.empty()) std::memcpy(scores_NC.data(), bytes.data(), bytes.size());
  std::vector<std::string> keys;
  std::vector<std::vector<std::int32_t>> labels;
  for (const std::int64_t place : images.decoded) {
    keys.push_back(set.items[static_cast<std::size_t>(place)].key);
    labels.push_back(set.labels[static_cast<std::size_t>(place)]);
  }
  SetResult result;
  result.options = set.options;
  result.templates = context.model.is_classifier() ? "" : set.templates;
  result.class_names = set.class_names;
  result.n = std::ssize(images.decoded);
  result.skipped = set.size() - result.n;
  result.multilabel = measure_multilabel(std::move(scores_NC), labels, result.classes());
  result.multilabel->keys = std::move(keys);
  return result;
}

SetResult score_set(const EvalSet& set, Classifiers& classifiers, EvalContext& context) {
  const auto begin = Clock::now();
  const std::string& kind = set.options.kind;
  SetResult result = kind == "retrieval"      ? score_retrieval(set, context)
                     : kind == "multilabel"   ? score_multilabel(set, classifiers, context)
                     : kind == "linear_probe" ? score_linear_probe(set, context)
                                              : score_classes(set, classifiers, context);
  const std::chrono::duration<double> elapsed = Clock::now() - begin;
  result.seconds = context.host.all_reduce(elapsed.count(), Reduce::max);
  return result;
}

}  // namespace

EvalResults evaluate(const EvalSuite& suite, EvalContext& context) {
  const torch::NoGradGuard no_grad;
  const EvalMode mode(context.model);
  const std::vector<EvalSet> sets = open_sets(suite, context);
  Classifiers classifiers(context);
  EvalResults results;
  results.kind = context.model.is_classifier() ? "supervised" : "contrastive";
  for (const EvalSet& set : sets) results.sets.push_back(score_set(set, classifiers, context));
  return results;
}

}  // namespace plumbline
