// What a report makes of good, odd and broken inputs.
#include <fstream>

#include "core/file.h"
#include "fixture.h"
#include "plumbline/error.h"
#include "report/csv.h"
#include "report/model_table.h"
#include "report/run.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

/// The message of the Error that `action` throws; "" when it throws none.
template <typename Action>
std::string message(Action action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Csv, QuotesAndLineEnds) {
  const CsvTable table = parse_csv("a,b\r\n\"x, \"\"y\"\"\",1\n\nlast,2", "t.csv");
  EXPECT_EQ(table.columns, (std::vector<std::string>{"a", "b"}));
  ASSERT_EQ(table.rows.size(), 2U);
  EXPECT_EQ(table.rows[0][0], "x, \"y\"");
  EXPECT_EQ(table.rows[1][1], "2");
  EXPECT_EQ(table.line_of_row[1], 4U);
}

TEST(Csv, BrokenTextIsNamedByLine) {
  const auto parse = [](const char* text) {
    return message([&] { (void)parse_csv(text, "t.csv"); });
  };
  EXPECT_TRUE(contains(parse("a,b\n1,2\n3\n"), "t.csv:3: 1 cells"));
  EXPECT_TRUE(contains(parse("a,b\n\"1,2\n"), "t.csv:2: a quote is not closed"));
  EXPECT_TRUE(contains(parse("a,a\n"), "two columns named 'a'"));
}

using Table = ReportTest;

TEST_F(Table, AccuraciesCountsAndOtherColumns) {
  const ModelTable table = read_model_table(
      write("t.csv", "model,note,clipart,clipart_n,v2\nm,first,0.5,200,\nk,2.5,,,0.25\n"));
  EXPECT_EQ(table.columns, (std::vector<std::string>{"clipart", "v2"}));
  EXPECT_EQ(table.rows[0].type, "STANDARD");
  EXPECT_EQ(table.rows[0].n.at("clipart"), 200);
  EXPECT_FALSE(table.rows[0].accuracy.contains("v2"));
  EXPECT_EQ(table.rows[1].accuracy.at("v2"), 0.25);
}

TEST_F(Table, BrokenTablesAreNamedByPlace) {
  const auto read = [&](const char* text) {
    write("t.csv", text);
    return message([&] { (void)read_model_table(path("t.csv")); });
  };
  EXPECT_TRUE(contains(read("name,v2\nm,0.5\n"), "no column 'model'"));
  EXPECT_TRUE(contains(read("model,v2\nm,0.5\nk,55.1\n"), "t.csv:3: 'v2' is '55.1'"));
  EXPECT_TRUE(contains(read("model,v2\nm,0.5\nm,0.6\n"), "t.csv:3: a second model 'm'"));
  EXPECT_TRUE(contains(read("model,metric,v2\nm,top7,0.5\n"), "metric 'top7'"));
}

using Inputs = ReportTest;

TEST_F(Inputs, ARunIsReadWhole) {
  const plumbline::Run run = read_run(make_run("demo", "--steps 220 --every 110"));
  EXPECT_EQ(run.name, "demo");
  EXPECT_EQ(run.model, "pictures-rn24");
  EXPECT_EQ(run.world, 2);
  EXPECT_EQ(run.total_steps, 220);
  EXPECT_EQ(run.curves.lines, 23);
  ASSERT_EQ(run.evaluations.size(), 2U);
  EXPECT_EQ(run.evaluations[1].step, 220);
  const SetAccuracy& set = *run.evaluations[1].find("stamps");
  // The file has no intervals: they follow from the counts.
  const Interval expected = clopper_pearson(*set.top1 * 179, 179);
  EXPECT_DOUBLE_EQ(set.ci95->lo, expected.lo);
  EXPECT_LT(set.mean_per_class_ci95->lo, *set.mean_per_class);
  EXPECT_TRUE(run.notes.empty());
}

TEST_F(Inputs, TornMetricsAndUnfinishedEvaluationsAreNotes) {
  const std::string run = make_run("demo", "--steps 220 --every 110");
  std::ofstream(run + "/metrics.jsonl", std::ios::app) << R"({"step": 230, "lo)";
  fs::create_directories(run + "/evaluation/step-00000330");
  const ReportSummary summary = report({run});
  ASSERT_EQ(summary.notes.size(), 2U);
  EXPECT_TRUE(contains(summary.notes[0], "metrics.jsonl:24: left out"));
  EXPECT_TRUE(contains(summary.notes[0], "cut short"));
  EXPECT_TRUE(contains(summary.notes[1], "step-00000330: no results.json"));
  EXPECT_EQ(page_data()["notes"].size(), 2U);
  EXPECT_EQ(page_data()["runs"][0]["lines"], 23);
}

TEST_F(Inputs, ARunWithoutEvaluationShowsItsCurves) {
  const std::string run = make_run("demo", "--steps 100 --every 200");
  const ReportSummary summary = report({run});
  EXPECT_TRUE(contains(summary.table, "demo: no finished evaluation"));
  EXPECT_TRUE(page_data()["runs"][0]["evaluations"].empty());
  EXPECT_EQ(page_data()["runs"][0]["curves"]["loss"].size(), 11U);
}

TEST_F(Inputs, AnEvaluationFolderAloneIsEnough) {
  const std::string run = make_run("demo", "--steps 110 --every 110");
  const ReportSummary summary = report({run + "/evaluation/step-00000110/"});
  EXPECT_TRUE(contains(summary.table, "step-00000110, step 110"));
  EXPECT_EQ(page_data()["runs"][0]["name"], "step-00000110");
}

TEST_F(Inputs, EqualNamesAreToldApart) {
  const std::string a = make_run("a/demo", "--steps 110 --every 110");
  const std::string b = make_run("b/demo", "--steps 110 --every 110 --seed 2");
  const std::vector<plumbline::Run> runs = read_runs({a, b});
  EXPECT_EQ(runs[0].name, a);
  EXPECT_EQ(runs[1].name, b);
  EXPECT_TRUE(contains(message([&] { (void)read_runs({a, a}); }), "is given twice"));
}

TEST_F(Inputs, ErrorsNameThePathAndLeaveNothingBehind) {
  EXPECT_TRUE(contains(message([&] { report({path("absent")}); }), "absent' is no folder"));
  fs::create_directories(path("other"));
  EXPECT_TRUE(contains(message([&] { report({path("other")}); }), "neither a run folder"));
  fs::create_directories(path("empty/evaluation"));
  EXPECT_TRUE(contains(message([&] { report({path("empty")}); }), "nothing to show"));
  const std::string run = make_run("demo", "--steps 110 --every 110");
  const std::string results = run + "/evaluation/step-00000110/results.json";
  const std::string good = read_file(results);
  write("demo/evaluation/step-00000110/results.json", good.substr(0, good.size() / 2));
  const std::string torn = message([&] { report({run}); });
  EXPECT_TRUE(contains(torn, "step-00000110/results.json: not the results")) << torn;
  Json json = Json::parse(good);
  json["sets"][0]["top1"] = 58.0;
  write("demo/evaluation/step-00000110/results.json", json.dump());
  EXPECT_TRUE(contains(message([&] { report({run}); }), "'clipart' has top1 = 58"));
  EXPECT_FALSE(fs::exists(path("report")));
}

TEST_F(Inputs, MetricsOfALongRunAreAveraged) {
  const std::string run = make_run("demo", "--steps 100 --every 200");
  std::string lines;
  for (int i = 1; i <= 4000; ++i) {
    lines += str("{\"step\": ", i, ", \"loss\": ", i % 3, "}\n");
  }
  write("demo/metrics.jsonl", lines);
  const Curves curves = read_run(run).curves;
  EXPECT_EQ(curves.lines, 4000);
  EXPECT_EQ(curves.lines_per_point, 3);
  EXPECT_EQ(curves.columns[0].second.size(), 1334U);
  EXPECT_EQ(curves.columns[0].second[0], 2.0);  // mean of the steps 1, 2, 3
  EXPECT_EQ(curves.columns[3].second[5], 1.0);  // mean of the losses 1, 2, 0
  EXPECT_FALSE(curves.columns[4].second[0].has_value());
}

}  // namespace
}  // namespace plumbline
