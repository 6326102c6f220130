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

std::vector<ModelPoint> points_of(const ShiftRule& rule) {
  const auto cell = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional<double>(std::stod(text));
  };
  std::vector<ModelPoint> points;
  for (auto& row : read_table(kTables / "baseline_models_ext.csv")) {
    points.push_back({row["model"], row["type"], cell(row[std::string(rule.x_column)]),
                      cell(row[std::string(rule.shift)])});
  }
  return points;
}

TEST_F(Scipy, EveryBaselineFitOfTheTestbed) {
  if (!std::filesystem::exists(kTables)) GTEST_SKIP() << "no " << kTables;
  ASSERT_EQ(of("fit").size(), 24U);
  for (const Case& c : of("fit")) {
    const ShiftRule* rule = nullptr;
    for (const ShiftRule& r : shift_rules()) {
      if (r.shift == c[0] && r.x_column == c[1]) rule = &r;
    }
    ASSERT_NE(rule, nullptr) << c[0] << " " << c[1];
    Transform transform = Transform::linear;
    for (const Transform t : kTransforms) transform = name_of(t) == c[2] ? t : transform;
    const std::vector<ModelPoint> points = points_of(*rule);
    std::vector<double> x, y;
    for (const std::size_t i : select_standard(points, *rule, transform)) {
      x.push_back(apply(transform, *points[i].x));
      y.push_back(apply(transform, *points[i].y));
    }
    const std::string what = c[0] + " " + c[1] + " " + c[2];
    EXPECT_EQ(x.size(), std::stoul(c[3])) << what;
    const Line line = fit_line(x, y);
    expect_relative(line.slope, std::stod(c[4]), 1e-11, what);
    expect_relative(line.intercept, std::stod(c[5]), 1e-10, what);
    expect_relative(line.r2, std::stod(c[6]), 1e-11, what);
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
