// Ranking, metrics and the files they end in.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/file.h"
#include "core/philox.h"
#include "eval/set_bytes.h"
#include "plumbline/error.h"
#include "plumbline/eval_suite.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

std::array<std::int32_t, kTopK> ranked(std::vector<float> logits,
                                       std::vector<std::int32_t> columns = {},
                                       std::int64_t classes = -1) {
  return rank_classes(logits, columns, classes < 0 ? std::ssize(logits) : classes).ranked;
}

using Ranked = std::array<std::int32_t, kTopK>;

TEST(RankClasses, TiesGoToTheLowerIndex) {
  EXPECT_EQ(ranked({1, 3, 3, 2, 3, 0, 3}), (Ranked{1, 2, 4, 6, 3}));
  EXPECT_EQ(ranked({0, 0, 0, 0, 0, 0}), (Ranked{0, 1, 2, 3, 4}));
  EXPECT_EQ(ranked({-5, -2}), (Ranked{1, 0, -1, -1, -1}));
}

TEST(RankClasses, EqualsAStableSort) {
  for (std::uint64_t trial = 0; trial < 50; ++trial) {
    std::vector<float> logits(37);
    std::vector<std::int32_t> order(37);
    for (std::uint32_t i = 0; i < 37; ++i) {
      logits[i] = static_cast<float>(draw(trial, i)[0] % 9);
      order[i] = static_cast<std::int32_t>(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
    });
    const Ranked expected = {order[0], order[1], order[2], order[3], order[4]};
    EXPECT_EQ(ranked(logits), expected) << trial;
  }
}

TEST(RankClasses, AClassScoresItsLargestColumn) {
  EXPECT_EQ(ranked({1, 5, 4, 9}, {1, 0, 2, 1}, 3), (Ranked{1, 0, 2, -1, -1}));
}

EvalSet make_set(std::size_t classes, const std::vector<std::int32_t>& targets) {
  EvalSet set;
  set.options.name = "s";
  set.options.layout = "imagefolder";
  set.options.role = "reference";
  for (std::size_t c = 0; c < classes; ++c) set.class_names.push_back(str("c", c));
  for (const std::int32_t t : targets) {
    set.items.push_back({str("k", set.items.size()), "f"});
    set.targets.push_back(t);
  }
  return set;
}

TEST(Measure, CountsByHand) {
  const EvalSet set = make_set(6, {0, 0, 0, 2, 5, 5});
  const std::vector<Score> scores = {{1, {0, 1, 2, 3, 4}}, {1, {1, 0, 2, 3, 4}},
                                     {1, {1, 2, 3, 4, 5}}, {1, {2, 0, 1, 3, 4}},
                                     {1, {5, 0, 1, 2, 3}}, {0, {-1, -1, -1, -1, -1}}};
  const SetResult r = measure(set, scores);
  EXPECT_EQ(r.n, 5);
  EXPECT_EQ(r.skipped, 1);
  EXPECT_DOUBLE_EQ(*r.top1, 3 / 5.0);
  EXPECT_DOUBLE_EQ(*r.top5, 4 / 5.0);
  EXPECT_DOUBLE_EQ(*r.mean_per_class, (1 / 3.0 + 1 + 1) / 3);  // of the classes 0, 2 and 5
  EXPECT_EQ(r.class_n, (std::vector<std::int64_t>{3, 0, 1, 0, 0, 1}));
  EXPECT_DOUBLE_EQ(r.ci95->lo, clopper_pearson(3, 5).lo);
  EXPECT_LE(r.mean_per_class_ci95->lo, *r.mean_per_class);
  EXPECT_GE(r.mean_per_class_ci95->hi, *r.mean_per_class);
}

TEST(Measure, UndefinedIsNothing) {
  const SetResult one = measure(make_set(1, {0}), std::vector<Score>{{1, {0, -1, -1, -1, -1}}});
  EXPECT_EQ(*one.top1, 1);
  EXPECT_FALSE(one.top5.has_value());
  EXPECT_EQ(one.ci95->hi, 1);
  const SetResult none = measure(make_set(1, {0}), std::vector<Score>(1));
  EXPECT_EQ(none.n, 0);
  EXPECT_EQ(none.skipped, 1);
  EXPECT_FALSE(none.top1.has_value());
  EXPECT_FALSE(none.mean_per_class.has_value());
  EXPECT_FALSE(none.ci95.has_value());
}

/// From the confusion matrix, class by class.
double macro_f1_by_hand(const std::vector<std::vector<int>>& confusion) {
  double sum = 0;
  int present = 0;
  for (std::size_t c = 0; c < confusion.size(); ++c) {
    int row = 0, column = 0;
    for (std::size_t o = 0; o < confusion.size(); ++o) {
      row += confusion[c][o];
      column += confusion[o][c];
    }
    if (row == 0) continue;
    ++present;
    const double precision = column == 0 ? 0 : confusion[c][c] / static_cast<double>(column);
    const double recall = confusion[c][c] / static_cast<double>(row);
    if (precision + recall > 0) sum += 2 * precision * recall / (precision + recall);
  }
  return sum / present;
}

TEST(Measure, MacroF1EqualsTheConfusionMatrixs) {
  for (std::uint64_t trial = 0; trial < 30; ++trial) {
    // Of 7 classes 5 and 6 have no image; 6 is predicted, and 4 never.
    std::vector<std::vector<int>> confusion(7, std::vector<int>(7, 0));
    std::vector<std::int32_t> targets;
    std::vector<Score> scores;
    for (std::uint32_t i = 0; i < 40; ++i) {
      const auto target = static_cast<std::int32_t>(draw(trial, i)[0] % 5);
      auto guess = static_cast<std::int32_t>(draw(trial, i)[1] % 7);
      if (guess == 4) guess = target == 4 ? 6 : target;
      targets.push_back(target);
      scores.push_back({1, {guess, -1, -1, -1, -1}});
      ++confusion[static_cast<std::size_t>(target)][static_cast<std::size_t>(guess)];
    }
    const SetResult r = measure(make_set(7, targets), scores);
    EXPECT_NEAR(*r.macro_f1, macro_f1_by_hand(confusion), 1e-12) << trial;
  }
  EXPECT_FALSE(measure(make_set(2, {0}), std::vector<Score>(1)).macro_f1.has_value());
}

TEST(BestPlace, TheBestOfTheRightOnesTiesToTheLowerIndex) {
  const std::vector<float> scores = {1, 3, 3, 2, 3};
  const auto place = [&](std::vector<std::int64_t> targets) { return best_place(scores, targets); };
  EXPECT_EQ(place({1}), 0);
  EXPECT_EQ(place({2}), 1);
  EXPECT_EQ(place({4}), 2);
  EXPECT_EQ(place({3}), 3);
  EXPECT_EQ(place({0}), 4);
  EXPECT_EQ(place({0, 4, 2}), 1);
  EXPECT_EQ(place({4, 2}), 1);
  EXPECT_THROW((void)place({}), InternalError);
}

TEST(Recall, SharesWithinTheFirstFew) {
  RetrievalResult r;
  r.text_place = {0, 4, 5, 12, 0, 2};        // six images
  r.image_place = {0, 0, 1, 4, 5, 3, 2, 2};  // of eight texts
  measure_recall(r);
  EXPECT_DOUBLE_EQ(*r.image_recall[0], 2 / 8.0);
  EXPECT_DOUBLE_EQ(*r.image_recall[1], 7 / 8.0);
  EXPECT_FALSE(r.image_recall[2].has_value()) << "ten of six images";
  EXPECT_DOUBLE_EQ(*r.text_recall[0], 2 / 6.0);
  EXPECT_DOUBLE_EQ(*r.text_recall[1], 4 / 6.0);
  EXPECT_FALSE(r.text_recall[2].has_value());
}

EvalResults two_sets() {
  EvalResults results;
  results.checkpoint = "runs/x/checkpoints/step-00000010";
  results.step = 10;
  EvalSet few = make_set(2, {1, 0});
  few.items[0].key = "a \"b\",c";
  results.sets.push_back(
      measure(few, std::vector<Score>{{1, {1, 0, -1, -1, -1}}, {1, {1, 0, -1, -1, -1}}}));
  results.sets.back().seconds = 0.5;
  results.sets.push_back(measure(make_set(1, {0}), std::vector<Score>(1)));
  results.sets.back().options.name = "empty";
  return results;
}

TEST(WriteResults, JsonAndPredictions) {
  const test::TempFolder folder;
  write_results(two_sets(), folder / "out");
  const auto json = nlohmann::json::parse(read_file(folder / "out/results.json"));
  EXPECT_EQ(json["checkpoint"], "runs/x/checkpoints/step-00000010");
  EXPECT_EQ(json["step"], 10);
  EXPECT_TRUE(json["samples"].is_null());
  const auto& set = json["sets"][0];
  for (const char* key : {"name", "kind", "layout", "role", "reference", "n", "classes", "top1",
                          "top5", "mean_per_class", "ci95", "seconds", "images_per_s", "skipped"}) {
    EXPECT_TRUE(set.contains(key)) << key;
  }
  EXPECT_EQ(set["n"], 2);
  EXPECT_EQ(set["top1"], 0.5);
  EXPECT_TRUE(set["top5"].is_null());
  EXPECT_TRUE(set["reference"].is_null());
  EXPECT_EQ(set["images_per_s"], 4);
  EXPECT_EQ(set["ci95"].size(), 2U);
  EXPECT_TRUE(json["sets"][1]["top1"].is_null());
  EXPECT_TRUE(json["sets"][1]["ci95"].is_null());
  EXPECT_EQ(read_file(folder / "out/predictions/s.csv"),
            "key,target,pred1,pred2\n\"a \"\"b\"\",c\",1,1,0\nk1,0,1,0\n");
  EXPECT_EQ(read_file(folder / "out/predictions/empty.csv"), "key,target,pred1\n");
}

EvalResults other_kinds() {
  EvalResults results;
  EvalSet set = make_set(5, {0, 1, 2, 3, 4, 0});
  set.options.layout = "fmow";
  set.groupings = {{"region", {"Asia", "Other", "Europe"}, {0, 0, 1, 2, 2, -1}, "Other"}};
  const auto guess = [](std::int32_t c) {
    return Score{1, {c, (c + 1) % 5, (c + 2) % 5, (c + 3) % 5, (c + 4) % 5}};
  };
  results.sets.push_back(
      measure(set, std::vector<Score>{guess(0), guess(2), guess(1), guess(3), guess(3), guess(1)}));
  results.sets.back().probe = ProbeResult{100, 20, 0.5};
  SetResult& retrieval = results.sets.emplace_back();
  retrieval.options.name = "captions";
  retrieval.options.kind = "retrieval";
  retrieval.options.layout = "webdataset";
  retrieval.n = 2;
  retrieval.retrieval = RetrievalResult{{"a,b", "c"}, {0, 0, 1}, {0, 1, 0}, {0, 2}, {}, {}};
  measure_recall(*retrieval.retrieval);
  return results;
}

TEST(WriteResults, GroupsProbesAndRetrieval) {
  const test::TempFolder folder;
  write_results(other_kinds(), folder / "out");
  const auto json = nlohmann::json::parse(read_file(folder / "out/results.json"));
  const auto& set = json["sets"][0];
  EXPECT_EQ(set["split"], "test");
  EXPECT_EQ(set["worst_region"], 0.5);
  EXPECT_EQ(set["worst_region_is"], "Asia");
  EXPECT_EQ(set["region_names"][1], "Other");
  EXPECT_EQ(set["region_n"], (std::vector<int>{2, 1, 2}));
  EXPECT_EQ(set["region_correct"], (std::vector<int>{1, 0, 1}));
  EXPECT_EQ(set["train_n"], 100);
  EXPECT_EQ(set["weight_decay"], 0.5);
  const auto& retrieval = json["sets"][1];
  EXPECT_EQ(retrieval["texts"], 3);
  EXPECT_TRUE(retrieval["top1"].is_null());
  EXPECT_EQ(retrieval["image_recall@1"], 2 / 3.0);
  EXPECT_EQ(retrieval["text_recall@1"], 0.5);
  EXPECT_TRUE(retrieval["text_recall@5"].is_null());
  EXPECT_EQ(read_file(folder / "out/retrieval/captions.csv"),
            "query,key,text,place\ntext,\"a,b\",0,0\ntext,\"a,b\",1,1\ntext,c,0,0\n"
            "image,\"a,b\",,0\nimage,c,,2\n");
  EXPECT_FALSE(std::filesystem::exists(folder / "out/predictions/captions.csv"));
  const std::string table = print_table(other_kinds());
  EXPECT_NE(table.find("50.00  Asia"), std::string::npos) << table;
  EXPECT_NE(table.find("66.67"), std::string::npos) << table;
}

// Every number of results.json again, from the files of predictions alone, by another program.
TEST(WriteResults, NumbersFollowFromThePredictions) {
  const std::filesystem::path source(PLUMBLINE_SOURCE_DIR);
  const std::string python = (source / ".venv/bin/python").string();
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "no .venv: run launch/setup.sh";
  const test::TempFolder folder;
  EvalResults results = other_kinds();
  std::vector<std::int32_t> targets;
  std::vector<Score> scores;
  for (std::uint32_t i = 0; i < 300; ++i) {
    targets.push_back(static_cast<std::int32_t>(draw(1, i)[0] % 9));  // 9 to 11 have no image
    std::vector<float> logits;
    for (std::uint32_t c = 0; c < 12; ++c) {
      logits.push_back(static_cast<float>(draw(2, 12 * i + c)[0] % 50));
    }
    logits[static_cast<std::size_t>(targets.back())] += 20;
    scores.push_back(rank_classes(logits, {}, 12));
  }
  results.sets.push_back(measure(make_set(12, targets), scores));
  results.sets.back().options.name = "random";
  write_results(results, folder / "out");
  const std::string script = (source / "tests/eval/recompute_metrics.py").string();
  const std::string command = python + " " + script + " " + (folder / "out");
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

TEST(PrintTable, AlignsAndMarksTheUndefined) {
  std::istringstream text(print_table(two_sets()));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].size(), lines[1].size());
  EXPECT_EQ(lines[1].size(), lines[2].size());
  EXPECT_NE(lines[1].find("50.00  [1.26, 98.74]"), std::string::npos) << lines[1];
  EXPECT_NE(lines[2].find(" - "), std::string::npos);
}

TEST(SetBytes, ASetComesBackWhole) {
  EvalSet set = make_set(3, {2, 0});
  set.templates = "own";
  set.prompts = {{"a", "b"}, {"\xff no utf-8"}, {"c"}};
  set.class_of_column = {0, 1, 2};
  set.items[1] = {"key \xfe", "shard.tar", 512, 77};
  set.captions = {{"one", "two \xfd"}, {}};
  set.groupings = {{"year", {"2002"}, {0, -1}, "none"}};
  set.train = {{{"t", "f", 1, 2}}, {2}};
  set.validation = {{{"v", "g", 3, 4}, {"w", "g"}}, {0, 1}};
  const EvalSet copy = unpack(pack(set), set.options);
  EXPECT_EQ(copy.prompts, set.prompts);
  EXPECT_EQ(copy.class_names, set.class_names);
  EXPECT_EQ(copy.class_of_column, set.class_of_column);
  EXPECT_EQ(copy.targets, set.targets);
  EXPECT_EQ(copy.templates, "own");
  ASSERT_EQ(copy.items.size(), 2U);
  EXPECT_EQ(copy.items[1].key, set.items[1].key);
  EXPECT_EQ(copy.items[1].file, "shard.tar");
  EXPECT_EQ(copy.items[1].offset, 512);
  EXPECT_EQ(copy.items[1].bytes, 77);
  EXPECT_EQ(copy.captions, set.captions);
  ASSERT_EQ(copy.groupings.size(), 1U);
  EXPECT_EQ(copy.groupings[0].name, "year");
  EXPECT_EQ(copy.groupings[0].groups, set.groupings[0].groups);
  EXPECT_EQ(copy.groupings[0].group_of, set.groupings[0].group_of);
  EXPECT_EQ(copy.groupings[0].left_out, "none");
  EXPECT_EQ(copy.train.targets, set.train.targets);
  EXPECT_EQ(copy.train.items[0].offset, 1);
  EXPECT_EQ(copy.validation.targets, set.validation.targets);
  EXPECT_EQ(copy.validation.items[1].key, "w");
}

}  // namespace
}  // namespace plumbline
