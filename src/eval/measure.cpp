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

namespace {

double ratio(std::int64_t part, std::int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

/// Counts of one class.
struct ClassCounts {
  std::int64_t targets = 0, predictions = 0, right = 0;
};

/// Fills what is a function of the counts by class.
void measure_classes(SetResult& result, const std::vector<ClassCounts>& counts) {
  double recall_sum = 0, f1_sum = 0, present = 0;
  for (const ClassCounts& c : counts) {
    result.class_n.push_back(c.targets);
    result.class_correct.push_back(c.right);
    if (c.targets == 0) continue;
    recall_sum += ratio(c.right, c.targets);
    f1_sum += ratio(2 * c.right, c.targets + c.predictions);
    present += 1;
  }
  if (present == 0) return;
  result.mean_per_class = recall_sum / present;
  result.macro_f1 = f1_sum / present;
  result.mean_per_class_ci95 = mean_recall_interval(result.class_correct, result.class_n);
}

GroupResult measure_groups(const Grouping& grouping, const EvalSet& set,
                           std::span<const Score> scores) {
  GroupResult result{grouping.name, grouping.groups, {}, {}, std::nullopt, ""};
  result.n.assign(grouping.groups.size(), 0);
  result.correct.assign(grouping.groups.size(), 0);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i].decoded == 0 || grouping.group_of[i] < 0) continue;
    const auto g = static_cast<std::size_t>(grouping.group_of[i]);
    ++result.n[g];
    result.correct[g] += scores[i].ranked[0] == set.targets[i] ? 1 : 0;
  }
  for (std::size_t g = 0; g < result.groups.size(); ++g) {
    if (result.n[g] == 0 || result.groups[g] == grouping.left_out) continue;
    const double accuracy = ratio(result.correct[g], result.n[g]);
    if (result.worst && accuracy >= *result.worst) continue;
    result.worst = accuracy;
    result.worst_group = result.groups[g];
  }
  return result;
}

}  // namespace

SetResult measure(const EvalSet& set, std::span<const Score> scores) {
  require(std::ssize(scores) == set.size(), "one score for each image");
  SetResult result;
  result.options = set.options;
  result.templates = set.templates;
  result.class_names = set.class_names;
  std::vector<ClassCounts> counts(set.class_names.size());
  std::int64_t right = 0, right_in_5 = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i].decoded == 0) {
      ++result.skipped;
      continue;
    }
    const std::int32_t target = set.targets[i];
    const auto& ranked = scores[i].ranked;
    const std::int64_t correct = ranked[0] == target ? 1 : 0;
    right += correct;
    right_in_5 += std::find(ranked.begin(), ranked.end(), target) != ranked.end() ? 1 : 0;
    ++counts[static_cast<std::size_t>(target)].targets;
    ++counts[static_cast<std::size_t>(ranked[0])].predictions;
    counts[static_cast<std::size_t>(target)].right += correct;
    result.predictions.push_back({set.items[i].key, target, ranked});
  }
  measure_classes(result, counts);
  for (const Grouping& grouping : set.groupings) {
    result.groups.push_back(measure_groups(grouping, set, scores));
  }
  result.n = std::ssize(result.predictions);
  if (result.n == 0) return result;
  result.top1 = ratio(right, result.n);
  if (result.classes() >= kTopK) result.top5 = ratio(right_in_5, result.n);
  result.ci95 = clopper_pearson(static_cast<double>(right), static_cast<double>(result.n));
  return result;
}

std::int64_t best_place(std::span<const float> scores, std::span<const std::int64_t> targets) {
  require(!targets.empty(), "a query has at least one right answer");
  auto best = static_cast<std::size_t>(targets[0]);
  for (const std::int64_t t : targets) {
    const auto target = static_cast<std::size_t>(t);
    if (scores[target] > scores[best] || (scores[target] == scores[best] && target < best)) {
      best = target;
    }
  }
  std::int64_t place = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    place += scores[i] > scores[best] || (scores[i] == scores[best] && i < best) ? 1 : 0;
  }
  return place;
}

void measure_recall(RetrievalResult& result) {
  const auto recall = [](const std::vector<std::int64_t>& places, std::int64_t candidates,
                         std::int64_t k) -> std::optional<double> {
    if (candidates < k || places.empty()) return std::nullopt;
    return ratio(std::count_if(places.begin(), places.end(), [&](auto p) { return p < k; }),
                 std::ssize(places));
  };
  for (std::size_t i = 0; i < kRecallAt.size(); ++i) {
    result.image_recall[i] =
        recall(result.image_place, std::ssize(result.text_place), kRecallAt[i]);
    result.text_recall[i] = recall(result.text_place, std::ssize(result.image_place), kRecallAt[i]);
  }
}

}  // namespace plumbline
