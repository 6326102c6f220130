// Scores of single images to metrics of a set.
#include <algorithm>
#include <cmath>

#include "plumbline/error.h"
#include "plumbline/eval_suite.h"

namespace plumbline {

Score rank_classes(std::span<const float> logits, std::span<const std::int32_t> class_of_column,
                   std::int64_t classes) {
  std::vector<float> collapsed;
  if (!class_of_column.empty()) {
    collapsed.assign(static_cast<std::size_t>(classes), -HUGE_VALF);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      float& best = collapsed[static_cast<std::size_t>(class_of_column[i])];
      best = std::max(best, logits[i]);
    }
    logits = collapsed;
  }
  require(std::ssize(logits) == classes, "one logit for each class");
  // Insertion into a list of five keeps the earlier of equal logits in front.
  Score score{1, {-1, -1, -1, -1, -1}};
  std::array<float, kTopK> best = {};
  int filled = 0;
  for (std::size_t c = 0; c < logits.size(); ++c) {
    int place = filled;
    while (place > 0 && logits[c] > best[static_cast<std::size_t>(place - 1)]) --place;
    if (place == kTopK) continue;
    filled = std::min(filled + 1, kTopK);
    for (int i = filled - 1; i > place; --i) {
      best[static_cast<std::size_t>(i)] = best[static_cast<std::size_t>(i - 1)];
      score.ranked[static_cast<std::size_t>(i)] = score.ranked[static_cast<std::size_t>(i - 1)];
    }
    best[static_cast<std::size_t>(place)] = logits[c];
    score.ranked[static_cast<std::size_t>(place)] = static_cast<std::int32_t>(c);
  }
  return score;
}

SetResult measure(const EvalSet& set, std::span<const Score> scores) {
  require(std::ssize(scores) == set.size(), "one score for each image");
  SetResult result;
  result.options = set.options;
  result.templates = set.templates;
  result.class_names = set.class_names;
  result.class_n.assign(set.class_names.size(), 0);
  result.class_correct.assign(set.class_names.size(), 0);
  std::int64_t right = 0, right_in_5 = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i].decoded == 0) {
      ++result.skipped;
      continue;
    }
    const std::int32_t target = set.targets[i];
    const auto& ranked = scores[i].ranked;
    const bool correct = ranked[0] == target;
    right += correct ? 1 : 0;
    right_in_5 += std::find(ranked.begin(), ranked.end(), target) != ranked.end() ? 1 : 0;
    ++result.class_n[static_cast<std::size_t>(target)];
    result.class_correct[static_cast<std::size_t>(target)] += correct ? 1 : 0;
    result.predictions.push_back({set.items[i].key, target, ranked});
  }
  result.n = std::ssize(result.predictions);
  if (result.n == 0) return result;
  const auto n = static_cast<double>(result.n);
  result.top1 = static_cast<double>(right) / n;
  if (result.classes() >= kTopK) result.top5 = static_cast<double>(right_in_5) / n;
  result.ci95 = clopper_pearson(static_cast<double>(right), n);
  double recall_sum = 0, present = 0;
  for (std::size_t c = 0; c < result.class_n.size(); ++c) {
    if (result.class_n[c] == 0) continue;
    recall_sum +=
        static_cast<double>(result.class_correct[c]) / static_cast<double>(result.class_n[c]);
    present += 1;
  }
  result.mean_per_class = recall_sum / present;
  result.mean_per_class_ci95 = mean_recall_interval(result.class_correct, result.class_n);
  return result;
}

}  // namespace plumbline
