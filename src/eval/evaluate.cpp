// Every set of a suite on all ranks: rank r of W scores images [rN/W, (r+1)N/W), all ranks gather
// the scores and compute the same metrics.
#include <chrono>
#include <cstring>

#include "dist/agree.h"
#include "eval/eval_mode.h"
#include "eval/image_batches.h"
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

/// The images of one rank and what was said about them.
struct Share {
  std::int64_t first = 0, last = 0;
  std::vector<Score> scores;
  std::string refused;  ///< the first image that could not be decoded, and why
};

void score_batch(const EvalSet& set, const ImageBatch& batch, const at::Tensor& weights_CD,
                 EvalContext& context, Share& share) {
  const at::Tensor features_BD = encode_batch(batch, context);
  const at::Tensor logits_BC =
      torch::matmul(100.0F * features_BD, weights_CD.t()).to(torch::kCPU).contiguous();
  const auto columns = static_cast<std::size_t>(logits_BC.size(1));
  const auto classes = std::ssize(set.class_names);
  for (std::size_t i = 0; i < batch.refused.size(); ++i) {
    const ImageRef& item = set.items[static_cast<std::size_t>(batch.first) + i];
    if (!batch.refused[i].empty()) {
      if (share.refused.empty()) share.refused = str("'", item.key, "': ", batch.refused[i]);
      share.scores.emplace_back();
      continue;
    }
    const std::span<const float> logits(logits_BC.data_ptr<float>() + i * columns, columns);
    for (const float logit : logits) {
      if (!std::isfinite(logit)) {
        throw Error(str("evaluating ", set.options.name, ": the model's output for image '",
                        item.key, "' is not finite"));
      }
    }
    share.scores.push_back(rank_classes(logits, set.class_of_column, classes));
  }
}

Share score_share(const EvalSet& set, const at::Tensor& weights_CD, EvalContext& context) {
  const std::int64_t n = set.size(), world = context.host.size(), rank = context.host.rank();
  const std::int64_t batch = std::min<std::int64_t>(context.batch, n);
  Share share{rank * n / world, (rank + 1) * n / world, {}, {}};
  const int border = set.options.layout == "objectnet" ? set.options.border_px : 0;
  ImageBatches batches(set.items, share.first, share.last, batch, border, context);
  const std::int64_t largest_share = (n + world - 1) / world;
  const std::int64_t rounds = (largest_share + batch - 1) / batch;  // the same on every rank
  for (std::int64_t k = 0; k < rounds; ++k) {
    agree(context.host, [&] {
      if (context.stop && context.stop()) {
        throw Error(str("evaluation of ", set.options.name, " was stopped by a signal"),
                    ExitCode::resumable);
      }
      if (!batches.done()) score_batch(set, batches.next(), weights_CD, context, share);
    });
    if (context.progress) {
      context.progress(set.options.name, std::ssize(share.scores), share.last - share.first);
    }
  }
  return share;
}

std::vector<Score> gather_scores(const Share& share, Communicator& host) {
  const auto* bytes = reinterpret_cast<const char*>(share.scores.data());
  const std::vector<std::string> parts =
      host.all_gather_bytes(std::string(bytes, share.scores.size() * sizeof(Score)));
  std::vector<Score> all;
  for (const std::string& part : parts) {
    const std::size_t old = all.size();
    all.resize(old + part.size() / sizeof(Score));
    if (!part.empty()) std::memcpy(all.data() + old, part.data(), part.size());
  }
  return all;
}

/// Collective.
void check_skipped(const EvalSet& set, std::int64_t skipped, const Share& share,
                   Communicator& host) {
  const std::vector<std::string> refused = host.all_gather_bytes(share.refused);
  if (skipped <= 1 || skipped * 1000 <= set.size()) return;
  std::string first;
  for (const std::string& text : refused) first = first.empty() ? text : first;
  throw AgreedError(str("evaluating ", set.options.name, ": ", skipped, " of ", set.size(),
                        " images cannot be decoded (at most 0.1 % may), the first is ", first),
                    ExitCode::bad_data);
}

SetResult score_set(const EvalSet& set, Classifiers& classifiers, EvalContext& context) {
  const auto begin = Clock::now();
  const at::Tensor weights_CD = classifiers.weights(set.prompts);
  const Share share = score_share(set, weights_CD, context);
  const std::vector<Score> scores = gather_scores(share, context.host);
  SetResult result = measure(set, scores);
  check_skipped(set, result.skipped, share, context.host);
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
