#include "data/labels.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "plumbline/error.h"

namespace plumbline {
namespace {

using Texts = std::map<std::string, std::string, std::less<>>;

/// The class, or minus one for none; `classes` are five.
std::int64_t label(const LabelOptions& options, const Texts& texts) {
  const LabelReader reader(options, "s");
  const auto read = reader.read(
      [&](std::string_view suffix) -> std::optional<std::string_view> {
        const auto found = texts.find(suffix);
        if (found == texts.end()) return std::nullopt;
        return found->second;
      },
      5);
  if (const auto* bad = std::get_if<BadSample>(&read)) {
    EXPECT_EQ(bad->reason, BadSampleClass::no_label);
    return -1;
  }
  return std::get<std::int64_t>(read);
}

TEST(Labels, NumbersInRange) {
  const LabelOptions cls{"cls", ""};
  EXPECT_EQ(label(cls, {{"cls", "4"}}), 4);
  EXPECT_EQ(label(cls, {{"cls", " 0\n"}}), 0);
  for (const char* text : {"5", "-1", "", "1.0", "1 5", "1 x", "cat", "99999999999999999999"}) {
    EXPECT_EQ(label(cls, {{"cls", text}}), -1) << text;
  }
  EXPECT_EQ(label(cls, {{"txt", "1"}}), -1);
}

TEST(Labels, JsonFields) {
  const LabelOptions field{"json:label", ""};
  EXPECT_EQ(label(field, {{"json", R"({"x": NaN, "label": 3})"}}), 3);
  EXPECT_EQ(label(field, {{"json", R"({"label": "2"})"}}), 2);
  for (const char* text :
       {R"({"label": 5})", R"({"label": [1, 5]})", R"({"label": []})", R"({"label": [1, [2]]})",
        R"({"label": 1.5})", R"({"label": null})", "{}", "{"}) {
    EXPECT_EQ(label(field, {{"json", text}}), -1) << text;
  }
}

TEST(Labels, OfSeveralEachIsDrawnEquallyOften) {
  for (const auto& [options, texts] :
       {std::pair<LabelOptions, Texts>{{"cls", ""}, {{"cls", "0 3\n4"}}},
        {{"json:label", ""}, {{"json", R"({"label": [0, "3", 4]})"}}}}) {
    const LabelReader reader(options, "s");
    const auto members = [&](std::string_view suffix) -> std::optional<std::string_view> {
      return texts.at(std::string(suffix));
    };
    std::map<std::int64_t, int> drawn;
    for (std::uint64_t g = 0; g < 3000; ++g) {
      const auto label = std::get<std::int64_t>(reader.read(members, 5, 7, g));
      ++drawn[label];
      EXPECT_EQ(std::get<std::int64_t>(reader.read(members, 5, 7, g)), label);
    }
    EXPECT_EQ(drawn.size(), 3U);
    for (const std::int64_t label : {0, 3, 4}) EXPECT_NEAR(drawn[label], 1000, 120) << label;
  }
}

TEST(Labels, NamesAreLookedUp) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("plumbline_names_" + std::to_string(getpid()));
  std::ofstream(path) << "cat\nguinea pig\n3\nd\ne\nbeyond\n";
  const LabelOptions names{"json:label", path.string()};
  EXPECT_EQ(label(names, {{"json", R"({"label": "guinea pig"})"}}), 1);
  EXPECT_EQ(label(names, {{"json", R"({"label": "3"})"}}), 2);  // a name before a number
  EXPECT_EQ(label(names, {{"json", R"({"label": "4"})"}}), 4);
  EXPECT_EQ(label(names, {{"json", R"({"label": "Cat"})"}}), -1);
  EXPECT_EQ(label(names, {{"json", R"({"label": "beyond"})"}}), -1);  // class 5 of 5
  std::ofstream(path) << "cat\ndog\ncat\n";
  EXPECT_THROW(LabelReader(names, "s"), UsageError);
  std::filesystem::remove(path);
  EXPECT_THROW(LabelReader(names, "s"), UsageError);
}

}  // namespace
}  // namespace plumbline
