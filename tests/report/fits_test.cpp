// fits.json: every number must follow from the inputs.
#include <cmath>

#include "core/file.h"
#include "fixture.h"
#include "plumbline/error.h"
#include "plumbline/stats.h"
#include "report/csv.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Fits = ReportTest;

double logit(double p) { return std::log(p / (1 - p)); }
double from_logit(double z) { return 1 / (1 + std::exp(-z)); }

/// The one entry with these values; fails the test when there is another number of them.
Json find(const Json& list, const std::vector<std::pair<std::string, Json>>& values) {
  std::vector<Json> found;
  for (const Json& entry : list) {
    bool same = true;
    for (const auto& [key, value] : values) same = same && entry.at(key) == value;
    if (same) found.push_back(entry);
  }
  EXPECT_EQ(found.size(), 1U);
  return found.empty() ? Json() : found[0];
}

struct Ols {
  double slope, intercept, r2;
};

Ols ols(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double sx = 0, sy = 0, sxx = 0, sxy = 0, syy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sx += x[i], sy += y[i];
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double dx = x[i] - sx / n, dy = y[i] - sy / n;
    sxx += dx * dx, sxy += dx * dy, syy += dy * dy;
  }
  return {sxy / sxx, (sy - sxy / sxx * sx) / n, sxy * sxy / (sxx * syy)};
}

/// 40 standard models exactly on y = 0.9 x - 0.4 on the logit axis, one CNN far from it.
std::string exact_table() {
  std::string text = "model,type,parent,clipart,stamps,clipart_n,stamps_n\n";
  for (int i = 0; i < 40; ++i) {
    const double z = -1 + 0.07 * i;
    text += str("m", i, ",STANDARD,,", Json(from_logit(z)).dump(), ",",
                Json(from_logit(0.9 * z - 0.4)).dump(), ",274,179\n");
  }
  return text + "cnn,LOW_ACCURACY_CNN,,0.05,0.9,274,179\nzero,STANDARD,,0.5,0,274,179\n";
}

TEST_F(Fits, ExactLineAndDistancesFromIt) {
  const std::string run = make_run("demo", "--steps 330 --every 110");
  const std::string baseline = write("baseline.csv", exact_table());
  const std::string models = write("models.csv",
                                   "model,type,parent,clipart,stamps,stamps_n\n"
                                   "plain,VL,,0.6,0.5,179\nbetter,VL,plain,0.58,0.55,179\n");
  report({run}, models, baseline);
  const Json json = fits();
  const Json fit =
      find(json["fits"],
           {{"x", "clipart"}, {"y", "stamps"}, {"transform", "logit"}, {"baseline", "standard"}});
  EXPECT_EQ(fit["n"], 40);
  EXPECT_NEAR(fit["slope"].get<double>(), 0.9, 1e-12);
  EXPECT_NEAR(fit["intercept"].get<double>(), -0.4, 1e-12);
  EXPECT_NEAR(fit["slope_ci95"][0].get<double>(), 0.9, 1e-9);
  EXPECT_EQ(fit["left_out"], Json::array({"zero"}));
  EXPECT_EQ(
      find(json["fits"], {{"y", "stamps"}, {"transform", "logit"}, {"baseline", "extended"}})["n"],
      41);
  // 0 has a place on the linear axis.
  EXPECT_EQ(
      find(json["fits"], {{"y", "stamps"}, {"transform", "linear"}, {"baseline", "standard"}})["n"],
      41);

  const Json better =
      find(json["models"], {{"name", "better"}, {"transform", "logit"}, {"baseline", "standard"}});
  EXPECT_NEAR(better["effective_robustness"].get<double>(),
              0.55 - from_logit(0.9 * logit(0.58) - 0.4), 1e-12);
  EXPECT_NEAR(better["residual"].get<double>(), logit(0.55) - (0.9 * logit(0.58) - 0.4), 1e-12);
  EXPECT_NEAR(better["relative_robustness"].get<double>(), 0.05, 1e-15);
  const Interval ci = clopper_pearson(0.55 * 179, 179);
  EXPECT_DOUBLE_EQ(better["ci95"][0].get<double>(), ci.lo);
  EXPECT_TRUE(better["x_ci95"].is_null());
}

TEST_F(Fits, CheckpointsAreFittedAndMeasured) {
  const std::string run = make_run("demo", "--steps 660 --every 110");
  report({run}, "", write("baseline.csv", exact_table()));
  const Json json = fits();
  std::vector<double> x, y;
  for (int step = 110; step <= 660; step += 110) {
    char name[64];
    std::snprintf(name, sizeof name, "/evaluation/step-%08d/results.json", step);
    const Json sets = Json::parse(read_file(run + name))["sets"];
    x.push_back(logit(sets[0]["top1"].get<double>()));
    y.push_back(logit(sets[1]["top1"].get<double>()));
  }
  const Json fit = find(
      json["fits"],
      {{"y", "stamps"}, {"transform", "logit"}, {"baseline", "checkpoints"}, {"metric", "top1"}});
  const Ols expected = ols(x, y);
  EXPECT_NEAR(fit["slope"].get<double>(), expected.slope, 1e-12);
  EXPECT_NEAR(fit["intercept"].get<double>(), expected.intercept, 1e-12);
  EXPECT_NEAR(fit["r2"].get<double>(), expected.r2, 1e-12);
  const Json point = find(json["models"], {{"name", "demo step 660"},
                                           {"y", "stamps"},
                                           {"metric", "top1"},
                                           {"transform", "logit"},
                                           {"baseline", "standard"}});
  EXPECT_NEAR(point["residual"].get<double>(), y.back() - (0.9 * x.back() - 0.4), 1e-12);
  // The table holds top-1: nothing is claimed of means over classes.
  EXPECT_TRUE(find(json["models"], {{"name", "demo step 660"},
                                    {"y", "stamps"},
                                    {"metric", "mean_per_class"}})["effective_robustness"]
                  .is_null());
}

TEST_F(Fits, ATableThatSharesNothingIsAnError) {
  const std::string run = make_run("demo", "--steps 110 --every 110");
  try {
    report({run}, "", write("t.csv", "model,other\nm,0.5\n"));
    FAIL() << "no error";
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("no pair of a shift and its reference"),
              std::string::npos);
  }
}

class PublishedTables : public ReportTest {
 protected:
  void SetUp() override {
    if (!fs::exists(baseline_)) GTEST_SKIP() << "no published tables at " << baseline_;
    report({make_run("demo", "--steps 220 --every 110")}, data_ + "clip_models.csv", baseline_);
  }
  std::string data_ = PLUMBLINE_SOURCE_DIR "/../shared/data/";
  std::string baseline_ = data_ + "baseline_models_ext.csv";
};

TEST_F(PublishedTables, TheBaselineIsThatOfTheMarkedRows) {
  const CsvTable csv = read_csv(baseline_);
  std::vector<double> x, y;
  for (const auto& row : csv.rows) {
    if (row[*csv.column("fit")] != "1") continue;
    x.push_back(logit(std::stod(row[*csv.column("imagenet")])));
    y.push_back(logit(std::stod(row[*csv.column("v2")])));
  }
  const Json fit =
      find(fits()["fits"],
           {{"x", "imagenet"}, {"y", "v2"}, {"transform", "logit"}, {"baseline", "standard"}});
  const Ols expected = ols(x, y);
  EXPECT_EQ(fit["n"], 85);
  EXPECT_NEAR(fit["slope"].get<double>(), expected.slope, 1e-11);
  EXPECT_NEAR(fit["intercept"].get<double>(), expected.intercept, 1e-11);
  EXPECT_NEAR(fit["r2"].get<double>(), expected.r2, 1e-11);
}

TEST_F(PublishedTables, EveryCombinationIsThere) {
  const Json json = fits();
  for (const ShiftRule& rule : shift_rules()) {
    for (const Transform transform : kTransforms) {
      for (const char* baseline : {"standard", "extended"}) {
        for (const char* piece : {"all", "below", "above"}) {
          if (!rule.knee && piece != std::string("all")) continue;
          const Json fit = find(json["fits"], {{"x", rule.x_column},
                                               {"y", rule.shift},
                                               {"axis", name_of(rule.axis)},
                                               {"transform", name_of(transform)},
                                               {"baseline", baseline},
                                               {"piece", piece}});
          EXPECT_GT(fit["r2"].get<double>(), 0.0);
        }
      }
    }
  }
  const std::vector<std::pair<std::string, Json>> r = {
      {"x", "imagenet_r_classes"}, {"y", "r"}, {"transform", "logit"}, {"baseline", "standard"}};
  EXPECT_EQ(find(json["fits"], r)["n"], 80);
}

TEST_F(PublishedTables, ClipStandsFarAboveTheLineAwayFromV2) {
  const Json json = fits();
  const auto rho = [&](const char* shift) {
    return find(json["models"],
                {{"name", "ViT-L-14-336/openai"},
                 {"y", shift},
                 {"transform", "logit"},
                 {"baseline", "standard"},
                 {"lines", shift == std::string("a") ? "two" : "one"}})["effective_robustness"]
        .get<double>();
  };
  // Zero-shot CLIP against a ResNet-101 of equal ImageNet accuracy: +6, +35, +40, +51 points.
  EXPECT_NEAR(rho("v2"), 0.06, 0.03);
  EXPECT_NEAR(rho("sketch"), 0.35, 0.06);
  EXPECT_NEAR(rho("objectnet"), 0.40, 0.11);
  EXPECT_NEAR(rho("r"), 0.51, 0.06);
  // The model that ImageNet-A was built against is neither fitted nor placed.
  const Json data = page_data();
  for (const Json& panel : data["panels"]) {
    if (panel["y"] != "a") continue;
    for (const Json& point : panel["points"]) EXPECT_NE(point["name"], "resnet50");
  }
}

}  // namespace
}  // namespace plumbline
