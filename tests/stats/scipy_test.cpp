// The same numbers as scipy, and the published baseline of the testbed tables.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "plumbline/error.h"
#include "plumbline/handle.h"
#include "plumbline/stats.h"

namespace plumbline {
namespace {

const std::filesystem::path kSource = PLUMBLINE_SOURCE_DIR;
const std::filesystem::path kTables = kSource / "../shared/data";

using Case = std::vector<std::string>;

/// The lines that scipy_reference.py prints, by their first word.
const std::multimap<std::string, Case>& cases() {
  static const std::multimap<std::string, Case> all = [] {
    std::string command = str((kSource / ".venv/bin/python").string(), " ",
                              (kSource / "tests/stats/scipy_reference.py").string());
    if (std::filesystem::exists(kTables)) command = str(command, " ", kTables.string());
    std::multimap<std::string, Case> read;
    const Handle<FILE, pclose> pipe(popen(command.c_str(), "r"));
    std::string text;
    char buffer[4096];
    while (const std::size_t n = fread(buffer, 1, sizeof buffer, pipe.get()))
      text.append(buffer, n);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string kind;
      words >> kind;
      Case values;
      for (std::string word; words >> word;) values.push_back(word);
      read.emplace(kind, values);
    }
    return read;
  }();
  return all;
}

class Scipy : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kSource / ".venv/bin/python")) {
      GTEST_SKIP() << "no .venv: run launch/setup.sh";
    }
    ASSERT_GT(cases().size(), 100U) << "scipy_reference.py failed";
  }
  static std::vector<Case> of(const std::string& kind) {
    std::vector<Case> found;
    const auto [first, last] = cases().equal_range(kind);
    for (auto i = first; i != last; ++i) found.push_back(i->second);
    return found;
  }
};

void expect_relative(double actual, double expected, double tolerance, const std::string& what) {
  if (expected == 0) {
    EXPECT_EQ(actual, 0) << what;
  } else {
    EXPECT_NEAR(actual / expected, 1, tolerance) << what;
  }
}

TEST_F(Scipy, ClopperPearson) {
  ASSERT_GT(of("cp").size(), 80U);
  for (const Case& c : of("cp")) {
    const double k = std::stod(c[0]), n = std::stod(c[1]), alpha = std::stod(c[2]);
    const std::string what = c[0] + " of " + c[1] + " at " + c[2];
    const Interval ci = clopper_pearson(k, n, alpha);
    expect_relative(ci.lo, std::stod(c[3]), 1e-9, what);
    expect_relative(ci.hi, std::stod(c[4]), 1e-9, what);
  }
}

TEST_F(Scipy, NormalQuantile) {
  ASSERT_GE(of("normal").size(), 12U);
  for (const Case& c : of("normal")) {
    expect_relative(normal_quantile(std::stod(c[0])), std::stod(c[1]), 2e-15, c[0]);
  }
}

TEST_F(Scipy, McNemar) {
  ASSERT_GE(of("mcnemar").size(), 8U);
  for (const Case& c : of("mcnemar")) {
    expect_relative(mcnemar_exact(std::stoll(c[0]), std::stoll(c[1])), std::stod(c[2]), 1e-10,
                    c[0] + ", " + c[1]);
  }
}

TEST_F(Scipy, Line) {
  const std::vector<Case> lines = of("line");
  ASSERT_EQ(lines.size(), 1U);
  std::vector<double> v;
  for (const std::string& word : lines[0]) v.push_back(std::stod(word));
  ASSERT_EQ(v.size(), 85U);
  const Line line = fit_line(std::span(v).subspan(5, 40), std::span(v).subspan(45, 40));
  const double actual[] = {line.slope, line.intercept, line.r2, line.slope_error,
                           line.intercept_error};
  for (std::size_t i = 0; i < 5; ++i) expect_relative(actual[i], v[i], 1e-12, std::to_string(i));
}

TEST_F(Scipy, StudentT) {
  ASSERT_EQ(of("student").size(), 72U);
  for (const Case& c : of("student")) {
    expect_relative(t_quantile(std::stod(c[0]), std::stod(c[1])), std::stod(c[2]), 1e-8,
                    c[0] + " at " + c[1]);
  }
  ASSERT_EQ(of("tail").size(), 20U);
  for (const Case& c : of("tail")) {
    expect_relative(t_two_sided(std::stod(c[0]), std::stod(c[1])), std::stod(c[2]), 1e-10,
                    c[0] + " at " + c[1]);
  }
}

TEST_F(Scipy, Contrast) {
  ASSERT_EQ(of("contrast").size(), 4U);
  for (const Case& c : of("contrast")) {
    std::vector<double> v;
    for (const std::string& word : c) v.push_back(std::stod(word));
    const auto n = static_cast<std::size_t>(v[0]), m = static_cast<std::size_t>(v[1]);
    const Contrast contrast =
        contrast_means(std::span(v).subspan(5, n), std::span(v).subspan(5 + n, m));
    const std::string what = c[0] + " and " + c[1];
    expect_relative(*contrast.p, v[2], 1e-9, what);
    EXPECT_NEAR(contrast.ci95->lo, v[3], 1e-11) << what;
    EXPECT_NEAR(contrast.ci95->hi, v[4], 1e-11) << what;
  }
}

// Two generators differ by the noise of 2000 resamples: ends within a tenth of the width.
TEST_F(Scipy, PairedBootstrapByImageAndByCluster) {
  ASSERT_EQ(of("resampled").size(), 2U);
  double width = 0;
  for (const Case& c : of("resampled")) {
    const std::size_t n = (c.size() - 3) / 3;
    ASSERT_EQ(n, 1200U);
    std::vector<std::uint8_t> first, second;
    std::vector<std::int64_t> cluster;
    for (std::size_t i = 0; i < n; ++i) {
      first.push_back(static_cast<std::uint8_t>(std::stoi(c[3 + i])));
      second.push_back(static_cast<std::uint8_t>(std::stoi(c[3 + n + i])));
      cluster.push_back(std::stoll(c[3 + 2 * n + i]));
    }
    if (c[0] == "0") cluster.clear();
    const PairedComparison paired = compare_paired(first, second, cluster);
    const double lo = std::stod(c[1]), hi = std::stod(c[2]);
    EXPECT_NEAR(paired.ci95.lo, lo, 0.1 * (hi - lo)) << c[0];
    EXPECT_NEAR(paired.ci95.hi, hi, 0.1 * (hi - lo)) << c[0];
    if (c[0] == "0") {
      width = hi - lo;
    } else {
      EXPECT_GT(hi - lo, 1.2 * width) << "clusters that agree within carry less than their images";
    }
  }
}

std::vector<std::map<std::string, std::string>> read_table(const std::filesystem::path& path) {
  std::ifstream file(path);
  const auto split = [](const std::string& line) {
    std::vector<std::string> cells;
    std::istringstream words(line + ",");
    for (std::string cell; std::getline(words, cell, ',');) cells.push_back(cell);
    return cells;
  };
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> header = split(line);
  std::vector<std::map<std::string, std::string>> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = split(line);
    auto& row = rows.emplace_back();
    for (std::size_t i = 0; i < header.size(); ++i) row[header[i]] = cells.at(i);
  }
  return rows;
}

std::vector<ModelPoint> points_of(const ShiftRule& rule,
                                  const char* table = "baseline_models_ext.csv") {
  const auto cell = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional<double>(std::stod(text));
  };
  std::vector<ModelPoint> points;
  for (auto& row : read_table(kTables / table)) {
    points.push_back({row["model"], row["type"], cell(row[std::string(rule.x_column)]),
                      cell(row[std::string(rule.shift)])});
  }
  return points;
}

const ShiftRule& rule_of(const std::string& shift, const std::string& column) {
  for (const ShiftRule& rule : shift_rules()) {
    if (rule.shift == shift && rule.x_column == column) return rule;
  }
  throw Error(str("no rule for ", shift, " against ", column));
}

Transform transform_of(const std::string& name) {
  for (const Transform t : kTransforms) {
    if (name_of(t) == name) return t;
  }
  throw Error("no transform " + name);
}

Baseline baseline_of(const std::string& name) {
  return name == "standard" ? Baseline::standard : Baseline::extended;
}

/// Transformed accuracies of a baseline's models within a piece of the axis.
struct Chosen {
  std::vector<double> x, y;
};
Chosen choose(const ShiftRule& rule, Baseline baseline, Transform transform,
              const std::string& piece = "all") {
  Chosen chosen;
  const std::vector<ModelPoint> points = points_of(rule);
  for (const std::size_t i : select_baseline(points, rule, baseline, transform)) {
    if (piece == "below" && !(*points[i].x < *rule.knee)) continue;
    if (piece == "above" && !(*points[i].x > *rule.knee)) continue;
    chosen.x.push_back(apply(transform, *points[i].x));
    chosen.y.push_back(apply(transform, *points[i].y));
  }
  return chosen;
}

TEST_F(Scipy, EveryBaselineFitOfTheTestbed) {
  if (!std::filesystem::exists(kTables)) GTEST_SKIP() << "no " << kTables;
  // Two baselines, three transforms, eight axes, two of which have three pieces.
  ASSERT_EQ(of("fit").size(), 2U * 3U * (6U + 2U * 3U));
  for (const Case& c : of("fit")) {
    const std::string what = str(c[0], " ", c[1], " ", c[2], " ", c[3], " ", c[4]);
    const Chosen chosen = choose(rule_of(c[1], c[2]), baseline_of(c[0]), transform_of(c[3]), c[4]);
    ASSERT_EQ(chosen.x.size(), std::stoul(c[5])) << what;
    const Line line = fit_line(chosen.x, chosen.y);
    expect_relative(line.slope, std::stod(c[6]), 1e-11, what);
    expect_relative(line.intercept, std::stod(c[7]), 1e-10, what);
    expect_relative(line.r2, std::stod(c[8]), 1e-10, what);
    expect_relative(line.slope_error, std::stod(c[9]), 1e-9, what);
  }
}

TEST_F(Scipy, EffectiveRobustnessAndResidualOfOpenClipsModels) {
  if (!std::filesystem::exists(kTables)) GTEST_SKIP() << "no " << kTables;
  ASSERT_EQ(of("clip").size(), 2U * 3U * 5U);
  for (const Case& c : of("clip")) {
    const std::string what = str(c[0], " ", c[1], " ", c[2]);
    const ShiftRule& rule = rule_of(c[1], "imagenet");
    const Transform transform = transform_of(c[2]);
    const Chosen chosen = choose(rule, baseline_of(c[0]), transform);
    const Line line = fit_line(chosen.x, chosen.y);
    double rho = 0, distance = 0, n = 0;
    for (const ModelPoint& model : points_of(rule, "clip_models.csv")) {
      if (!model.x || !model.y) continue;
      rho += effective_robustness(line, transform, *model.x, *model.y);
      distance += residual(line, transform, *model.x, *model.y);
      ++n;
    }
    EXPECT_EQ(n, std::stod(c[3])) << what;
    EXPECT_NEAR(rho / n, std::stod(c[4]), 1e-11) << what;
    EXPECT_NEAR(distance / n, std::stod(c[5]), 1e-11) << what;
  }
}

// Two generators differ by the noise of 1000 resamples: ends within a tenth of the width.
TEST_F(Scipy, BootstrapBandOfALine) {
  if (!std::filesystem::exists(kTables)) GTEST_SKIP() << "no " << kTables;
  ASSERT_EQ(of("band").size(), 3U);
  for (const Case& c : of("band")) {
    std::vector<double> v;
    for (std::size_t i = 2; i < c.size(); ++i) v.push_back(std::stod(c[i]));
    ASSERT_EQ(v.size(), 13U);
    const Chosen chosen = choose(rule_of(c[0], "imagenet"), Baseline::standard, transform_of(c[1]));
    const LineBand band = bootstrap_line(chosen.x, chosen.y, std::span(v).first(3));
    std::vector<Interval> ours = {band.slope, band.intercept};
    ours.insert(ours.end(), band.at.begin(), band.at.end());
    for (std::size_t k = 0; k < ours.size(); ++k) {
      const double lo = v[3 + 2 * k], hi = v[4 + 2 * k];
      EXPECT_NEAR(ours[k].lo, lo, 0.12 * (hi - lo)) << c[0] << " " << k;
      EXPECT_NEAR(ours[k].hi, hi, 0.12 * (hi - lo)) << c[0] << " " << k;
    }
  }
}

TEST(Testbed, NumbersOfModelsInTheFits) {
  if (!std::filesystem::exists(kTables)) GTEST_SKIP() << "no " << kTables;
  const auto count = [](std::string_view shift, ClassAxis axis, Baseline baseline) {
    const ShiftRule& rule = find_shift_rule(shift, axis);
    return select_baseline(points_of(rule), rule, baseline, Transform::probit).size();
  };
  EXPECT_EQ(count("v2", ClassAxis::full, Baseline::standard), 85U);
  EXPECT_EQ(count("v2", ClassAxis::full, Baseline::extended), 200U);
  EXPECT_EQ(count("objectnet", ClassAxis::restricted, Baseline::standard), 85U);
  EXPECT_EQ(count("r", ClassAxis::restricted, Baseline::standard), 80U);
  EXPECT_EQ(count("a", ClassAxis::restricted, Baseline::standard), 84U);
}

}  // namespace
}  // namespace plumbline
