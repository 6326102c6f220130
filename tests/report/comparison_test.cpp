// Runs against runs on the same images, and arms against arms: from the files to fits.json.
#include <cmath>
#include <functional>

#include "core/file.h"
#include "fixture.h"
#include "plumbline/error.h"
#include "plumbline/stats.h"
#include "report/arms.h"
#include "report/csv.h"

namespace plumbline {
namespace {

using Comparison = ReportTest;

/// An evaluation folder with one set `s` of three classes: `right` is a '1' or '0' an image.
struct Scored {
  std::string right;
  std::vector<std::string> clusters = {};
  std::string prefix = "k";
};

std::string write_evaluation(
    const std::string& name, const Scored& scored,
    const std::function<std::string(const std::string&, const std::string&)>& write) {
  std::string csv =
      scored.clusters.empty() ? "key,target,pred1,pred2\n" : "key,target,pred1,pred2,cluster\n";
  std::int64_t correct = 0;
  std::vector<std::int64_t> class_n(3), class_correct(3);
  for (std::size_t i = 0; i < scored.right.size(); ++i) {
    const std::size_t target = i % 3, other = (target + 1) % 3;
    const bool right = scored.right[i] == '1';
    correct += right ? 1 : 0;
    ++class_n[target];
    class_correct[target] += right ? 1 : 0;
    csv += str(scored.prefix, i, ",", target, ",", right ? target : other, ",",
               right ? other : target);
    if (!scored.clusters.empty()) csv += "," + scored.clusters[i];
    csv += "\n";
  }

  write(name + "/predictions/s.csv", csv);
  const auto n = static_cast<double>(scored.right.size());
  const Json set = {{"name", "s"},
                    {"kind", "classification"},
                    {"layout", "webdataset"},
                    {"role", "reference"},
                    {"n", scored.right.size()},
                    {"classes", 3},
                    {"top1", static_cast<double>(correct) / n},
                    {"class_names", {"x", "y", "z"}},
                    {"class_n", class_n},
                    {"class_correct", class_correct}};
  write(name + "/results.json", Json({{"sets", Json::array({set})}}).dump());
  return name;
}

class Pairs : public ReportTest {
 protected:
  std::string evaluation(const std::string& name, const Scored& scored) {
    return path(write_evaluation(
        name, scored,
        [this](const std::string& file, const std::string& text) { return write(file, text); }));
  }
};

TEST_F(Pairs, CountsTestsAndClassesFollowFromTheFiles) {
  const std::string a = evaluation("a", {"110011001100"}), b = evaluation("b", {"111111110000"});
  const ReportSummary summary = report({a, b});
  EXPECT_TRUE(summary.notes.empty()) << summary.notes[0];
  const Json paired = fits()["paired"];
  ASSERT_EQ(paired.size(), 1U);
  const Json& pair = paired[0];
  EXPECT_EQ(pair["first"], "a");
  EXPECT_EQ(pair["second"], "b");
  EXPECT_EQ(pair["n"], 12);
  EXPECT_EQ(pair["only_first"], 2);   // images 8 and 9
  EXPECT_EQ(pair["only_second"], 4);  // 2, 3, 6, 7
  EXPECT_NEAR(pair["difference"].get<double>(), 2 / 12.0, 1e-15);
  EXPECT_EQ(pair["mcnemar_p"], mcnemar_exact(2, 4));
  EXPECT_EQ(pair["holm_p"], pair["mcnemar_p"]);  // one test alone
  EXPECT_TRUE(pair["clusters"].is_null());
  EXPECT_FALSE(pair.contains("class_n")) << "the classes stand on the page";
  const Json shown = page_data()["paired"][0];
  EXPECT_EQ(shown["class_names"], Json({"x", "y", "z"}));
  EXPECT_EQ(shown["class_n"], Json({4, 4, 4}));
  EXPECT_EQ(shown["class_only_first"], Json({1, 0, 1}));   // 9, -, 8
  EXPECT_EQ(shown["class_only_second"], Json({2, 1, 1}));  // 3 and 6, 7, 2
  EXPECT_EQ(shown["class_p"][0], mcnemar_exact(1, 2));
}

TEST_F(Pairs, ClustersAreDrawnTogetherAndSilenceMcNemar) {
  std::string first, second;
  std::vector<std::string> clusters;
  for (int i = 0; i < 300; ++i) {  // ten clusters of thirty that go together
    first += i / 30 % 2 == 0 ? '1' : '0';
    second += i / 30 % 3 == 0 ? '1' : '0';
    clusters.push_back(str("face ", i / 30));
  }
  const auto difference = [&](const std::string& name, const std::vector<std::string>& of) {
    (void)report({evaluation(name + "1", {first, of}), evaluation(name + "2", {second, of})});
    return fits()["paired"][0];
  };
  const Json plain = difference("p", {}), clustered = difference("c", clusters);
  EXPECT_EQ(clustered["clusters"], 10);
  EXPECT_TRUE(clustered["mcnemar_p"].is_null());
  EXPECT_TRUE(clustered["holm_p"].is_null());
  EXPECT_EQ(clustered["difference"], plain["difference"]);
  const auto width = [](const Json& pair) {
    return pair["ci95"][1].get<double>() - pair["ci95"][0].get<double>();
  };
  EXPECT_GT(width(clustered), 3 * width(plain));
}

TEST_F(Pairs, ClustersOfTheFolderWhereTheFilesNameNone) {
  const std::string a = evaluation("a", {"110011"}), b = evaluation("b", {"111111"});
  for (const std::string& run : {a, b}) {
    Json json = Json::parse(read_file(run + "/results.json"));
    json["sets"][0]["path"] = path("set");
    write(run.substr(path("").size()) + "/results.json", json.dump());
  }
  const auto clusters = [&](const std::string& keys) {
    write("set/keys.txt", keys);
    (void)report({a, b});
    return fits()["paired"][0]["clusters"];
  };
  EXPECT_EQ(clusters("k0\tp\tx\nk1\tp\tx\nk2\tp\ty\nk3\tp\ty\nk4\tp\tz\nk5\tp\tz\n"), 3);
  EXPECT_TRUE(clusters("k0\tp\tx\nk1\tp\tx\n").is_null()) << "images without a group";
  EXPECT_TRUE(clusters("k0\tp\t0\nk1\tp\t1\nk2\tp\t2\nk3\tp\t3\nk4\tp\t4\nk5\tp\t5\n").is_null())
      << "groups of one";
}

TEST_F(Pairs, OnlyCommonImagesAndOnlyTheSameImages) {
  const std::string a = evaluation("a", {"1111"});
  // Two images more, and one of the old ones in another place of the file does not matter.
  const std::string b = evaluation("b", {"110100"});
  EXPECT_TRUE(report({a, b}).notes.empty());
  EXPECT_EQ(fits()["paired"][0]["n"], 4);
  EXPECT_EQ(fits()["paired"][0]["only_first"], 1);
  const std::string other = evaluation("other", {"1111", {}, "z"});
  const ReportSummary none = report({a, other});
  EXPECT_TRUE(fits()["paired"].empty());
  ASSERT_EQ(none.notes.size(), 1U);
  EXPECT_NE(none.notes[0].find("no image in common"), std::string::npos) << none.notes[0];
  const std::string wrong = evaluation("wrong", {"1111"});
  write("wrong/predictions/s.csv", "key,target,pred1\nk0,1,1\nk1,1,1\n");
  const ReportSummary refused = report({a, wrong});
  ASSERT_EQ(refused.notes.size(), 1U);
  EXPECT_NE(refused.notes[0].find("another class"), std::string::npos) << refused.notes[0];
}

TEST_F(Pairs, ManyRunsAreComparedWithTheFirst) {
  std::vector<std::string> runs;
  for (int i = 0; i < 7; ++i) runs.push_back(evaluation(str("r", i), {"110100"}));
  (void)report({runs.begin(), runs.begin() + 6});
  EXPECT_EQ(fits()["paired"].size(), 15U);
  (void)report(runs);
  ASSERT_EQ(fits()["paired"].size(), 6U);
  const Json file = fits();
  for (const Json& pair : file["paired"]) EXPECT_EQ(pair["first"], "r0");
}

TEST(Arms, NamesOfRuns) {
  for (const char* name : {"mix-50-seed3", "mix-50_s3", "mix-50.seed=3", "mix-50-seed-12",
                           "mix-50seed1", "mix-50-s-3"}) {
    EXPECT_EQ(arm_of(name), "mix-50") << name;
  }
  EXPECT_EQ(arm_of("classes10"), "classes10");
  EXPECT_EQ(arm_of("mix-50"), "mix-50");
  EXPECT_EQ(arm_of("seed3"), "seed3");
  EXPECT_EQ(arm_of("a"), "a");
}

TEST_F(Comparison, ArmsOfTheTableByWelch) {
  // Baseline: shift = reference, so that effective robustness is the plain difference.
  std::string baseline = "model,clipart,stamps\n";
  for (int i = 0; i < 20; ++i)
    baseline += str("b", i, ",", 0.1 + 0.04 * i, ",", 0.1 + 0.04 * i, "\n");
  const std::vector<double> a = {0.30, 0.32, 0.31}, b = {0.40, 0.41, 0.45, 0.40};
  std::string models = "model,arm,clipart,stamps\n";
  for (std::size_t i = 0; i < a.size(); ++i) models += str("a", i, ",few,0.5,", a[i], "\n");
  for (std::size_t i = 0; i < b.size(); ++i) models += str("c", i, ",many,0.5,", b[i], "\n");
  (void)report({make_run("demo", "--steps 110 --every 110")}, write("models.csv", models),
               write("baseline.csv", baseline));
  int found = 0;
  const Json file = fits();
  for (const Json& c : file["contrasts"]) {
    if (c["n_first"] == 1 || c["n_second"] == 1) {
      EXPECT_TRUE(c["ci95"].is_null());
    }
    if (c["second"] != "many" && c["first"] != "many") continue;
    if (c["first"] != "few" && c["second"] != "few") continue;
    const double sign = c["second"] == "many" ? 1 : -1;
    const Contrast expected = contrast_means(a, b);
    if (c["measure"] == "shift" ||
        (c["measure"] == "effective_robustness" && c["transform"] == "linear")) {
      EXPECT_NEAR(sign * c["difference"].get<double>(), expected.difference, 1e-12);
      EXPECT_NEAR(c["p"].get<double>(), *expected.p, 1e-9);
      EXPECT_EQ(c["verdict"], "effect");
      EXPECT_EQ(c["margin"], 0.02);
      ++found;
    } else if (c["measure"] == "reference") {
      EXPECT_EQ(c["difference"], 0);
      EXPECT_EQ(c["verdict"], "no effect");
      ++found;
    } else if (c["measure"] == "residual" && c["transform"] == "logit") {
      EXPECT_EQ(c["margin"], 0.10);
      ++found;
    }
  }
  EXPECT_GE(found, 4) << fits()["contrasts"].dump(1).substr(0, 2000);
}

TEST_F(Comparison, PlotsHaveIntervalsOf995PerMille) {
  (void)report({make_run("demo", "--steps 110 --every 110")});
  const Json file = fits();
  for (const Json& point : file["models"]) {
    if (point["metric"] != "top1") continue;
    const double n = point["n"], y = point["y_value"];
    const Interval wide = clopper_pearson(y * n, n, 0.005), narrow = clopper_pearson(y * n, n);
    EXPECT_EQ(point["ci995"], Json({wide.lo, wide.hi}));
    EXPECT_EQ(point["ci95"], Json({narrow.lo, narrow.hi}));
  }
}

}  // namespace
}  // namespace plumbline
