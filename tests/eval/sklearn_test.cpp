// Metrics against scikit-learn, live: random logits and adversarial ones (ties, absent classes,
// classes that are only predicted, one class, nothing decoded), and retrieval.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/philox.h"
#include "eval/multilabel.h"
#include "plumbline/error.h"
#include "plumbline/eval_suite.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

using Json = nlohmann::json;

/// Logits are integers below `levels` (few levels: many ties), targets those of `wanted` alone.
struct Recipe {
  std::string name;
  std::int64_t n = 0;
  std::int32_t classes = 0;
  std::vector<std::int32_t> wanted;
  std::uint32_t levels = 0;
  std::vector<std::int32_t> class_of_column = {};
  std::uint32_t undecoded_of = 0;  ///< one image in so many; 0: none
  int help = 0;                    ///< added to the target's logit
};

std::vector<std::int32_t> first_classes(std::int32_t n) {
  std::vector<std::int32_t> classes;
  for (std::int32_t c = 0; c < n; ++c) classes.push_back(c);
  return classes;
}

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all = {
      {"random", 400, 20, first_classes(20), 1000000, {}, 0, 200000},
      {"many ties", 300, 12, first_classes(12), 3},
      {"all equal", 60, 7, first_classes(7), 1},
      {"absent and only predicted classes", 200, 15, {2, 3, 11}, 50, {}, 0, 20},
      {"one class of many", 40, 9, {8}, 6},
      {"one class", 12, 1, {0}, 5},
      {"two classes", 50, 2, {0, 1}, 4},
      {"four classes", 70, 4, {0, 1, 3}, 4},
      {"five classes", 70, 5, {0, 1, 2, 3, 4}, 4},
      {"one image", 1, 6, {4}, 10},
      {"never right", 90, 8, first_classes(8), 20, {}, 0, -1000},
      {"always right", 90, 8, first_classes(8), 20, {}, 0, 1000},
      {"some undecodable", 200, 10, first_classes(10), 9, {}, 7, 4},
      {"nothing decoded", 20, 6, first_classes(6), 9, {}, 1},
      {"several columns a class", 250, 6, first_classes(6), 5, {0, 1, 1, 2, 3, 5, 4, 4, 4}, 0, 2},
  };
  return all;
}

/// Regions of which one is left out and one has no image; years that some images lack.
std::vector<Grouping> groupings(std::int64_t n, std::uint64_t seed) {
  Grouping region{"region", {"Asia", "Other", "Europe", "Oceania"}, {}, "Other"};
  Grouping year{"year", {"2002", "2003", "2004"}, {}, ""};
  for (std::int64_t i = 0; i < n; ++i) {
    const auto random = draw(seed, static_cast<std::uint32_t>(i));
    region.group_of.push_back(static_cast<std::int32_t>(random[0] % 3));
    year.group_of.push_back(static_cast<std::int32_t>(random[1] % 4) - 1);
  }
  return {region, year};
}

/// The set of a recipe, and logits in image-major order.
EvalSet make_set(const Recipe& recipe, std::uint64_t seed, std::vector<float>& logits) {
  EvalSet set;
  set.options.name = recipe.name;
  set.class_of_column = recipe.class_of_column;
  for (std::int32_t c = 0; c < recipe.classes; ++c) set.class_names.push_back(str("c", c));
  const std::size_t columns = recipe.class_of_column.empty()
                                  ? static_cast<std::size_t>(recipe.classes)
                                  : recipe.class_of_column.size();
  for (std::int64_t i = 0; i < recipe.n; ++i) {
    const auto at = static_cast<std::uint32_t>(i);
    const auto target = recipe.wanted[draw(seed, at)[0] % recipe.wanted.size()];
    set.items.push_back({str("k", i), "f"});
    set.targets.push_back(target);
    for (std::size_t c = 0; c < columns; ++c) {
      const auto random = draw(seed + 1, at * 64 + static_cast<std::uint32_t>(c))[0];
      const std::int32_t owner =
          recipe.class_of_column.empty() ? static_cast<std::int32_t>(c) : recipe.class_of_column[c];
      logits.push_back(static_cast<float>(static_cast<int>(random % recipe.levels) +
                                          (owner == target ? recipe.help : 0)));
    }
  }
  set.groupings = groupings(recipe.n, seed + 2);
  return set;
}

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json classification_case(const Recipe& recipe, std::uint64_t seed) {
  std::vector<float> logits;
  const EvalSet set = make_set(recipe, seed, logits);
  const std::size_t columns = logits.size() / set.items.size();
  std::vector<Score> scores;
  std::vector<int> decoded;
  for (std::size_t i = 0; i < set.items.size(); ++i) {
    const bool lost = recipe.undecoded_of > 0 && i % recipe.undecoded_of == 0;
    decoded.push_back(lost ? 0 : 1);
    scores.push_back(lost ? Score{}
                          : rank_classes(std::span(logits).subspan(i * columns, columns),
                                         set.class_of_column, recipe.classes));
  }
  const SetResult r = measure(set, scores);
  Json results = {{"top1", or_null(r.top1)},
                  {"top5", or_null(r.top5)},
                  {"mean_per_class", or_null(r.mean_per_class)},
                  {"macro_f1", or_null(r.macro_f1)},
                  {"class_n", r.class_n},
                  {"class_correct", r.class_correct}};
  Json groups = Json::array();
  for (std::size_t g = 0; g < set.groupings.size(); ++g) {
    const Grouping& grouping = set.groupings[g];
    groups.push_back({{"name", grouping.name},
                      {"names", grouping.groups},
                      {"group_of", grouping.group_of},
                      {"left_out", grouping.left_out}});
    results[str("worst_", grouping.name)] = or_null(r.groups[g].worst);
  }
  return {{"kind", "classification"},
          {"name", recipe.name},
          {"classes", recipe.classes},
          {"logits", logits},
          {"targets", set.targets},
          {"decoded", decoded},
          {"class_of_column", set.class_of_column},
          {"groups", groups},
          {"results", results}};
}

/// Image i has 1 + i % 3 texts.
Json retrieval_case(std::int64_t images, std::uint32_t levels, std::uint64_t seed) {
  std::vector<std::int64_t> owner;
  std::vector<std::vector<std::int64_t>> texts_of(static_cast<std::size_t>(images));
  for (std::int64_t i = 0; i < images; ++i) {
    for (std::int64_t t = 0; t <= i % 3; ++t) {
      texts_of[static_cast<std::size_t>(i)].push_back(std::ssize(owner));
      owner.push_back(i);
    }
  }
  const auto columns = static_cast<std::size_t>(images);
  std::vector<float> scores;
  for (std::uint32_t k = 0; k < owner.size() * columns; ++k) {
    scores.push_back(static_cast<float>(draw(seed, k)[0] % levels));
  }
  RetrievalResult r;
  for (std::size_t t = 0; t < owner.size(); ++t) {
    const std::int64_t right[] = {owner[t]};
    r.image_place.push_back(best_place(std::span(scores).subspan(t * columns, columns), right));
  }
  for (std::size_t i = 0; i < columns; ++i) {
    std::vector<float> column;
    for (std::size_t t = 0; t < owner.size(); ++t) column.push_back(scores[t * columns + i]);
    r.text_place.push_back(best_place(column, texts_of[i]));
  }
  measure_recall(r);
  Json results;
  for (std::size_t k = 0; k < kRecallAt.size(); ++k) {
    results[str("image_recall@", kRecallAt[k])] = or_null(r.image_recall[k]);
    results[str("text_recall@", kRecallAt[k])] = or_null(r.text_recall[k]);
  }
  return {{"kind", "retrieval"},
          {"name", str("retrieval of ", images, ", ", levels, " levels")},
          {"scores", scores},
          {"image_of_text", owner},
          {"results", results}};
}

/// Scores without ties, which scikit-learn counts otherwise; the last class has no image.
Json multilabel_case(std::int64_t n, std::int64_t classes, std::uint64_t seed) {
  std::vector<float> scores;
  std::vector<std::vector<std::int32_t>> positives;
  Json labels = Json::array();
  for (std::int64_t i = 0; i < n; ++i) {
    positives.emplace_back();
    std::vector<int> row;
    for (std::int64_t c = 0; c < classes; ++c) {
      const auto at = static_cast<std::uint32_t>(i * classes + c);
      const bool has = c + 1 < classes && draw(seed, at)[0] % 4 == 0;
      if (has) positives.back().push_back(static_cast<std::int32_t>(c));
      row.push_back(has ? 1 : 0);
      scores.push_back(static_cast<float>(draw(seed, at)[1] % 100000) + (has ? 20000.0F : 0.0F) +
                       static_cast<float>(at) / 16384.0F);
    }
    labels.push_back(row);
  }
  const MultilabelResult r = measure_multilabel(scores, positives, classes);
  return {{"kind", "multilabel"},
          {"name", str("multilabel of ", n)},
          {"scores", scores},
          {"labels", labels},
          {"results",
           {{"mean", or_null(r.mean)},
            {"average_precision", r.average_precision},
            {"positives", r.positives}}}};
}

TEST(ScikitLearn, SaysTheSameOfEveryMetric) {
  const std::filesystem::path source(PLUMBLINE_SOURCE_DIR);
  const std::filesystem::path python = source / ".venv/bin/python";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "no .venv: run launch/setup.sh";
  Json cases = Json::array();
  std::uint64_t seed = 100;
  for (const Recipe& recipe : recipes()) {
    for (int repeat = 0; repeat < 3; ++repeat, seed += 10) {
      cases.push_back(classification_case(recipe, seed));
    }
  }
  for (const std::int64_t images : {3, 7, 40}) {
    for (const std::uint32_t levels : {2U, 9U, 4000000U}) {
      cases.push_back(retrieval_case(images, levels, seed++));
    }
  }
  for (const std::int64_t n : {1, 30, 200}) cases.push_back(multilabel_case(n, 7, seed++));
  const test::TempFolder folder;
  test::write_file(folder / "cases.json", cases.dump());
  const std::string command =
      str(python.string(), " ", (source / "tests/eval/sklearn_metrics.py").string(), " ",
          folder / "cases.json");
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

}  // namespace
}  // namespace plumbline
