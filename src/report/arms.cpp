#include "report/arms.h"

#include <algorithm>
#include <map>

namespace plumbline {
namespace {

/// Takes one of these characters from the end.
bool drop_one(std::string& text, std::string_view of) {
  if (text.empty() || of.find(text.back()) == std::string_view::npos) return false;
  text.pop_back();
  return true;
}

bool drop_word(std::string& text, std::string_view word) {
  if (!text.ends_with(word)) return false;
  text.resize(text.size() - word.size());
  return true;
}

/// What is measured, and the value of each point that has one.
struct Measure {
  std::string name, transform, baseline, metric;
  double margin = 0;
  /// Values by arm, arms in the order of their first point.
  std::vector<std::pair<std::string, std::vector<double>>> arms;

  void add(const std::string& arm, double value) {
    const auto found =
        std::find_if(arms.begin(), arms.end(), [&](const auto& a) { return a.first == arm; });
    if (found == arms.end()) {
      arms.push_back({arm, {value}});
    } else {
      found->second.push_back(value);
    }
  }
};

/// A residual's margin on each axis: 0.10 logit; as much at 50 % under probit; 2 points.
double residual_margin(Transform transform) {
  if (transform == Transform::linear) return kAccuracyMargin;
  constexpr double kProbitPerLogit = 0.6267;  // sqrt(2 pi) / 4
  return kResidualMargin * (transform == Transform::probit ? kProbitPerLogit : 1);
}

class Measures {
 public:
  void add(const PanelPoint& point) {
    of("reference", "", "", point.metric, kAccuracyMargin).add(point.arm, point.x);
    of("shift", "", "", point.metric, kAccuracyMargin).add(point.arm, point.y);
    for (const Departure& d : point.departures) {
      const bool has_two = std::any_of(
          point.departures.begin(), point.departures.end(), [&](const Departure& other) {
            return other.lines == "two" && other.baseline == d.baseline &&
                   other.transform == d.transform;
          });
      if (d.lines == "one" && has_two) continue;  // pieces stand for the shift where it has a knee
      const std::string transform(name_of(d.transform));
      of("effective_robustness", transform, d.baseline, point.metric, kAccuracyMargin)
          .add(point.arm, d.effective_robustness);
      of("residual", transform, d.baseline, point.metric, residual_margin(d.transform))
          .add(point.arm, d.residual);
    }
  }
  [[nodiscard]] const std::vector<Measure>& all() const { return all_; }

 private:
  Measure& of(const std::string& name, const std::string& transform, const std::string& baseline,
              const std::string& metric, double margin) {
    for (Measure& m : all_) {
      if (m.name == name && m.transform == transform && m.baseline == baseline &&
          m.metric == metric) {
        return m;
      }
    }
    return all_.emplace_back(Measure{name, transform, baseline, metric, margin, {}});
  }
  std::vector<Measure> all_;
};

void add_contrasts(const Panel& panel, const Measure& measure, std::vector<ArmContrast>& out) {
  const auto& arms = measure.arms;
  const bool repeated =
      std::any_of(arms.begin(), arms.end(), [](const auto& arm) { return arm.second.size() > 1; });
  if (!repeated) return;
  const std::size_t firsts = arms.size() <= kArmsInPairs ? arms.size() : 1;
  for (std::size_t a = 0; a < firsts; ++a) {
    for (std::size_t b = a + 1; b < arms.size(); ++b) {
      ArmContrast c;
      c.x = panel.x;
      c.y = panel.y;
      c.axis = panel.axis;
      c.metric = measure.metric;
      c.measure = measure.name;
      c.transform = measure.transform;
      c.baseline = measure.baseline;
      c.first = arms[a].first;
      c.second = arms[b].first;
      c.contrast = contrast_means(arms[a].second, arms[b].second);
      c.margin = measure.margin;
      c.verdict = judge(c.contrast.ci95, measure.margin);
      if (c.verdict == Verdict::not_resolved) {
        c.models_needed = models_needed(c.contrast, measure.margin);
      }
      out.push_back(std::move(c));
    }
  }
}

}  // namespace

std::string arm_of(const std::string& run) {
  std::string arm = run;
  bool digits = false;
  while (drop_one(arm, "0123456789")) digits = true;
  if (!digits) return run;
  (void)drop_one(arm, "-_=");
  if (!drop_word(arm, "seed")) {
    // A lone s must stand apart: "classes10" is no seed.
    if (!drop_word(arm, "s") || arm.empty() ||
        std::string_view("-_.").find(arm.back()) == std::string_view::npos) {
      return run;
    }
  }
  (void)drop_one(arm, "-_.");
  return arm.empty() ? run : arm;
}

std::vector<ArmContrast> contrast_arms(const std::vector<Panel>& panels) {
  std::vector<ArmContrast> all;
  for (const Panel& panel : panels) {
    Measures measures;
    for (const PanelPoint& point : panel.points) {
      if (!point.arm.empty()) measures.add(point);
    }
    for (const Measure& measure : measures.all()) add_contrasts(panel, measure, all);
  }
  return all;
}

}  // namespace plumbline
