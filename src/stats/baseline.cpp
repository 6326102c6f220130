// Which models of a testbed the baseline is fitted to, and on which axes.
#include <algorithm>
#include <cctype>
#include <cmath>

#include "plumbline/error.h"
#include "plumbline/stats.h"

namespace plumbline {
namespace {

// ImageNet-A holds what resnet50 gets wrong: its accuracy there is 0 by construction. Its line has
// a knee where the reference accuracy passes resnet50's (Taori et al. 2020).
constexpr ShiftRule kRules[] = {
    {"v2", ClassAxis::full, "imagenet", 0.55, std::nullopt, ""},
    {"objectnet", ClassAxis::full, "imagenet", 0.55, std::nullopt, ""},
    {"objectnet", ClassAxis::restricted, "imagenet_objectnet_classes", 0.55, std::nullopt, ""},
    {"sketch", ClassAxis::full, "imagenet", 0.55, std::nullopt, ""},
    {"r", ClassAxis::full, "imagenet", 0.55, std::nullopt, ""},
    {"r", ClassAxis::restricted, "imagenet_r_classes", 0.75, std::nullopt, ""},
    {"a", ClassAxis::full, "imagenet", 0.55, 0.7613, "resnet50"},
    {"a", ClassAxis::restricted, "imagenet_a_classes", 0.75, 0.9186, "resnet50"},
};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool in_baseline(const ModelPoint& point, const ShiftRule& rule, Baseline baseline) {
  std::string name = point.model;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (point.type == "STANDARD") {
    return !contains(name, "aws") && !contains(name, "batch64") && !contains(name, "subsample") &&
           (baseline == Baseline::extended || *point.x >= rule.min_x);
  }
  // Models trained on fewer classes cannot know the others.
  return baseline == Baseline::extended && point.type == "LOW_ACCURACY_CNN" &&
         !contains(name, "_classes_batch64");
}

}  // namespace

std::string_view name_of(Baseline baseline) {
  return baseline == Baseline::standard ? "standard" : "extended";
}

std::string_view name_of(ClassAxis axis) { return axis == ClassAxis::full ? "full" : "restricted"; }

std::span<const ShiftRule> shift_rules() { return kRules; }

const ShiftRule& find_shift_rule(std::string_view shift, ClassAxis axis) {
  std::string known;
  for (const ShiftRule& rule : kRules) {
    if (rule.shift == shift && rule.axis == axis) return rule;
    known += str(known.empty() ? "" : ", ", rule.shift, " (", name_of(rule.axis), ")");
  }
  throw UsageError(str("no fit is defined for shift '", shift, "' on the ", name_of(axis),
                       " axis; there are ", known));
}

std::vector<std::size_t> select_baseline(std::span<const ModelPoint> points, const ShiftRule& rule,
                                         Baseline baseline, Transform transform) {
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const ModelPoint& point = points[i];
    if (!point.x || !point.y || point.model == rule.never_include) continue;
    if (!std::isfinite(apply(transform, *point.x)) || !std::isfinite(apply(transform, *point.y))) {
      continue;
    }
    if (in_baseline(point, rule, baseline)) places.push_back(i);
  }
  return places;
}

std::vector<std::size_t> select_standard(std::span<const ModelPoint> points, const ShiftRule& rule,
                                         Transform transform) {
  return select_baseline(points, rule, Baseline::standard, transform);
}

}  // namespace plumbline
