// Every set of a suite on all ranks: each scores its share of the images, all gather the scores and
// compute the same metrics.
#include <chrono>
#include <cmath>
#include <cstring>

#include "dist/agree.h"
#include "eval/eval_mode.h"
#include "eval/features.h"
#include "eval/linear_probe.h"
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

/// Adds the scores of a batch.
void score_batch(const EvalSet& set, const ImageBatch& batch, const at::Tensor& features_BD,
                 const at::Tensor& weights_CD, std::vector<Score>& scores) {
  const at::Tensor logits_BC =
      torch::matmul(100.0F * features_BD, weights_CD.t()).to(torch::kCPU).contiguous();
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

SetResult score_zero_shot(const EvalSet& set, Classifiers& classifiers, EvalContext& context) {
  const at::Tensor weights_CD = classifiers.weights(set.prompts);
  const int border = set.options.layout == "objectnet" ? set.options.border_px : 0;
  const ImageList list{set.options.name, set.items, border};
  std::vector<Score> mine;
  const std::string refused =
      visit_features(list, context, [&](const ImageBatch& batch, const at::Tensor& features_BD) {
        score_batch(set, batch, features_BD, weights_CD, mine);
      });
  SetResult result = measure(set, gather_scores(mine, context.host));
  check_skipped(list, result.skipped, refused, context.host);
  return result;
}

SetResult score_set(const EvalSet& set, Classifiers& classifiers, EvalContext& context) {
  const auto begin = Clock::now();
  const std::string& kind = set.options.kind;
  SetResult result = kind == "retrieval"      ? score_retrieval(set, context)
                     : kind == "linear_probe" ? score_linear_probe(set, context)
                                              : score_zero_shot(set, classifiers, context);
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
  for (const EvalSet& set : sets) results.sets.push_back(score_set(set, classifiers, context));
  return results;
}

ImageFeatures embed_images(const std::vector<ImageRef>& images, EvalContext& context) {
  const torch::NoGradGuard no_grad;
  const EvalMode mode(context.model);
  const std::int64_t n = std::ssize(images);
  if (n == 0) throw DataError("there is no image to embed");
  ImageBatches batches(images, 0, n, std::min<std::int64_t>(context.batch, n), 0, context);
  ImageFeatures result;
  std::vector<at::Tensor> parts;
  while (!batches.done()) {
    const ImageBatch batch = batches.next();
    std::vector<std::int64_t> decoded;
    for (std::size_t i = 0; i < batch.refused.size(); ++i) {
      const std::string& key = images[static_cast<std::size_t>(batch.first) + i].key;
      if (batch.refused[i].empty()) {
        decoded.push_back(static_cast<std::int64_t>(i));
        result.keys.push_back(key);
      } else {
        result.refused.push_back(key + ": " + batch.refused[i]);
      }
    }
    parts.push_back(
        encode_batch(batch, context).cpu().index_select(0, torch::tensor(decoded, torch::kLong)));
    if (context.progress) context.progress("images", batch.first + batch.rows, n);
  }
  result.features_ND = torch::cat(parts);
  return result;
}

}  // namespace plumbline
