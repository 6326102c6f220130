// Models of several kinds without a side table: published tables as they are, and runs whose
// results say `kind`.
#include <cmath>
#include <fstream>

#include "core/file.h"
#include "fixture.h"
#include "plumbline/error.h"
#include "plumbline/stats.h"
#include "report/model_table.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Formats = ReportTest;
using Kinds = ReportTest;

TEST_F(Formats, OpenClipsResults) {
  const ModelTable table = read_model_table(
      write("openclip_results.csv",
            "name,pretrained,Average perf. on 38 datasets,ImageNet 1k,CIFAR-10,ImageNet Sketch,"
            "ImageNet v2,ImageNet-A,ImageNet-R,ObjectNet\n"
            "RN50,openai,0.45,0.5982,0.7151,0.3545,0.5282,0.2289,0.6058,0.4028\n"
            "ViT-B-32,laion2b_e16,030282.63,0.6565,0.9403,0.5287,0.5739,0.2615,0.7588,0.4877\n"
            "ViT-B-32,openai,0.5,0.6332,0.8983,0.4233,0.5594,,0.6935,0.4422\n"));
  EXPECT_EQ(table.format, "openclip");
  ASSERT_EQ(table.rows.size(), 3U);
  EXPECT_EQ(table.rows[0].model, "RN50/openai");
  EXPECT_EQ(table.rows[0].type, "openai");
  EXPECT_EQ(table.rows[1].model, "ViT-B-32/laion2b_e16");
  EXPECT_EQ(table.rows[1].type, "openclip");
  EXPECT_EQ(table.rows[1].accuracy.at("imagenet"), 0.6565);
  EXPECT_EQ(table.rows[1].accuracy.at("v2"), 0.5739);
  EXPECT_EQ(table.rows[1].accuracy.at("sketch"), 0.5287);
  EXPECT_EQ(table.rows[1].accuracy.at("r"), 0.7588);
  EXPECT_EQ(table.rows[1].accuracy.at("objectnet"), 0.4877);
  EXPECT_FALSE(table.rows[2].accuracy.contains("a")) << "an empty cell is missing, never 0";
}

TEST_F(Formats, TheTestbedsTableOfAllEvaluations) {
  const ModelTable table = read_model_table(
      write("robustness_top1s.csv",
            "model,greyscale,imagenet-a,imagenet-r,imagenet-sketch,"
            "imagenetv2-matched-frequency-format-val,objectnet-1.0-beta,val,"
            "val-on-imagenet-r-classes\n"
            "resnet50,,0.0,36.16,24.09,63.1,29.0,76.13,92.5\nalexnet,40.1,1.75,,,43.5,,56.522,\n"));
  EXPECT_EQ(table.format, "testbed");
  EXPECT_EQ(table.rows[0].type, "UNTYPED") << "no row may silently enter a baseline";
  EXPECT_NEAR(table.rows[0].accuracy.at("imagenet"), 0.7613, 1e-15);
  EXPECT_NEAR(table.rows[0].accuracy.at("imagenet_r_classes"), 0.925, 1e-15);
  EXPECT_EQ(table.rows[0].accuracy.at("a"), 0);
  EXPECT_NEAR(table.rows[1].accuracy.at("v2"), 0.435, 1e-15);
  EXPECT_FALSE(table.rows[1].accuracy.contains("r"));
  EXPECT_FALSE(table.has("greyscale")) << "other columns keep their percent and are left alone";
  write("robustness_top1s.csv", "model,val,imagenet-r\nm,176.1,3\n");
  try {
    (void)read_model_table(path("robustness_top1s.csv"));
    FAIL() << "no error";
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find("robustness_top1s.csv:2: imagenet '176.1'"),
              std::string::npos)
        << e.what();
  }
}

// The prepared table was made from OpenCLIP's; read from either, the models stand at one place.
TEST_F(Formats, OpenClipsTableEqualsThePreparedOne) {
  const std::string prepared = PLUMBLINE_SOURCE_DIR "/../shared/data/clip_models.csv";
  if (!fs::exists(prepared)) GTEST_SKIP() << "no published table at " << prepared;
  const ModelTable ours = read_model_table(prepared);
  ASSERT_EQ(ours.rows.size(), 121U);
  std::string text =
      "name,pretrained,ImageNet 1k,ImageNet v2,ObjectNet,ImageNet Sketch,ImageNet-R,ImageNet-A\n";
  for (const ModelRow& row : ours.rows) {
    const std::size_t slash = row.model.find('/');
    text += str(row.model.substr(0, slash), ",", row.model.substr(slash + 1));
    for (const char* column : {"imagenet", "v2", "objectnet", "sketch", "r", "a"}) {
      text += str(",", Json(row.accuracy.at(column)).dump());
    }
    text += "\n";
  }
  const ModelTable theirs = read_model_table(write("openclip.csv", text));
  ASSERT_EQ(theirs.rows.size(), ours.rows.size());
  for (std::size_t i = 0; i < ours.rows.size(); ++i) {
    EXPECT_EQ(theirs.rows[i].model, ours.rows[i].model);
    EXPECT_EQ(theirs.rows[i].type, ours.rows[i].type) << ours.rows[i].model;
    EXPECT_EQ(theirs.rows[i].accuracy, ours.rows[i].accuracy) << ours.rows[i].model;
  }
}

double logit(double p) { return std::log(p / (1 - p)); }

/// An evaluation folder of one reference and one shift.
std::string write_evaluation(const std::string& folder, const std::string& kind, double x,
                             double y) {
  Json set = {{"name", "clipart"},   {"kind", "classification"},
              {"role", "reference"}, {"n", 1000},
              {"classes", 10},       {"top1", x}};
  Json shift = set;
  shift["name"] = "stamps";
  shift["role"] = "shift";
  shift["reference"] = "clipart";
  shift["top1"] = y;
  Json results = {{"checkpoint", folder}, {"sets", Json::array({set, shift})}};
  if (!kind.empty()) results["kind"] = kind;
  fs::create_directories(folder);
  std::ofstream(folder + "/results.json") << results.dump();
  return folder;
}

TEST_F(Kinds, SupervisedRunsMakeABaseline) {
  std::vector<std::string> runs;
  for (int i = 0; i < 6; ++i) {
    const double z = -1.0 + 0.4 * i;
    const double y = 0.8 * z - 0.3;
    runs.push_back(write_evaluation(path(str("net", i, "-seed0")), "supervised",
                                    1 / (1 + std::exp(-z)), 1 / (1 + std::exp(-y))));
  }
  runs.push_back(write_evaluation(path("clip"), "contrastive", 0.4, 0.5));
  runs.push_back(write_evaluation(path("old"), "", 0.3, 0.2));
  // The ends of an interpolation are merged models: not in the line.
  runs.push_back(write_evaluation(path("soup"), "supervised", 0.6, 0.9));
  Json soup = Json::parse(read_file(path("soup/results.json")));
  soup["merge"] = {{"kind", "uniform"}, {"inputs", {"a", "b"}}, {"alpha", nullptr}};
  std::ofstream(path("soup/results.json")) << soup.dump();
  (void)report(runs);
  const Json json = fits();
  int lines = 0;
  for (const Json& fit : json["fits"]) {
    if (fit["baseline"] != "supervised") continue;
    ++lines;
    EXPECT_EQ(fit["metric"], "top1") << "no mean over classes was measured";
    EXPECT_EQ(fit["n"], 6);
    if (fit["transform"] != "logit") continue;
    EXPECT_NEAR(fit["slope"].get<double>(), 0.8, 1e-12);
    EXPECT_NEAR(fit["intercept"].get<double>(), -0.3, 1e-12);
  }
  EXPECT_EQ(lines, 3);
  int seen = 0;
  for (const Json& model : json["models"]) {
    if (model["transform"] != "logit") continue;
    const std::string name = model["name"], kind = model["kind"];
    if (name == "clip") {
      ++seen;
      EXPECT_EQ(kind, "contrastive");
      EXPECT_NEAR(model["residual"].get<double>(), logit(0.5) - (0.8 * logit(0.4) - 0.3), 1e-12);
    }
    if (name == "old") {  // written before `kind`
      ++seen;
      EXPECT_EQ(kind, "contrastive");
    }
    if (name == "soup") {
      ++seen;
      EXPECT_EQ(kind, "merged");
    }
    if (name == "net2-seed0") {
      ++seen;
      EXPECT_NEAR(model["residual"].get<double>(), 0, 1e-12);
    }
  }
  EXPECT_EQ(seen, 4);
}

TEST_F(Kinds, RecallsAndOtherMeasuresReachThePage) {
  const std::string folder = write_evaluation(path("a"), "contrastive", 0.5, 0.4);
  Json json = Json::parse(read_file(folder + "/results.json"));
  json["sets"].push_back({{"name", "captions"},
                          {"kind", "retrieval"},
                          {"n", 40},
                          {"top1", nullptr},
                          {"image_recall@1", 0.25},
                          {"text_recall@10", nullptr}});
  json["sets"].push_back({{"name", "several"},
                          {"kind", "multilabel"},
                          {"n", 30},
                          {"top1", nullptr},
                          {"mean_average_precision", 0.625}});
  json["sets"][1]["worst_region"] = 0.125;
  write("a/results.json", json.dump());
  (void)report({folder});
  const Json data = page_data();
  const Json& sets = data["runs"][0]["evaluations"][0]["sets"];
  EXPECT_TRUE(sets[0]["others"].empty());
  EXPECT_EQ(sets[1]["others"], Json({{"worst_region", 0.125}}));
  EXPECT_EQ(sets[2]["others"], Json({{"image_recall@1", 0.25}}));
  EXPECT_EQ(sets[3]["others"], Json({{"mean_average_precision", 0.625}}));
  EXPECT_EQ(data["runs"][0]["examples"].size(), 2U) << "of the sets that have classes";
  json["sets"][3]["mean_average_precision"] = 62.5;
  write("a/results.json", json.dump());
  EXPECT_THROW((void)report({folder}), DataError);
}

TEST_F(Kinds, TwoSupervisedRunsMakeNone) {
  (void)report({write_evaluation(path("a"), "supervised", 0.5, 0.4),
                write_evaluation(path("b"), "supervised", 0.6, 0.5)});
  for (const Json& fit : fits()["fits"]) EXPECT_NE(fit["baseline"], "supervised");
  EXPECT_TRUE(fits()["models"][0]["effective_robustness"].is_null());
}

}  // namespace
}  // namespace plumbline
