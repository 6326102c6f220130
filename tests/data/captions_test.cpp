#include "data/captions.h"

#include <gtest/gtest.h>

#include <map>

#include "plumbline/error.h"

namespace plumbline {
namespace {

using Texts = std::map<std::string, std::string, std::less<>>;

std::variant<std::string, BadSample> choose(const CaptionOptions& options, const Texts& texts,
                                            std::uint64_t g = 0) {
  const CaptionChooser chooser(options, "s");
  return chooser.choose(
      [&](std::string_view suffix) -> std::optional<std::string_view> {
        const auto found = texts.find(suffix);
        if (found == texts.end()) return std::nullopt;
        return found->second;
      },
      7, g);
}

std::string text(const CaptionOptions& options, const Texts& texts, std::uint64_t g = 0) {
  auto chosen = choose(options, texts, g);
  if (const auto* bad = std::get_if<BadSample>(&chosen)) return str("!", name_of(bad->reason));
  return std::get<std::string>(chosen);
}

CaptionOptions keys(std::vector<std::string> names) {
  CaptionOptions options;
  options.keys = std::move(names);
  return options;
}

TEST(Captions, FirstNonEmptyWins) {
  EXPECT_EQ(text(keys({"txt"}), {{"txt", " a dog "}}), " a dog ");
  EXPECT_EQ(text(keys({"alt", "txt"}), {{"alt", " \xc2\xa0\n"}, {"txt", "b"}}), "b");
  EXPECT_EQ(text(keys({"txt"}), {{"json", "{}"}}), "!no_text");
  EXPECT_EQ(text(keys({"txt"}), {{"txt", " \t"}}), "!empty_text");
  EXPECT_EQ(text(keys({"txt"}), {{"txt", "\xc3("}}), "!tokenizer");
}

TEST(Captions, JsonAsPythonWritesIt) {
  const CaptionOptions title = keys({"json:title"});
  EXPECT_EQ(text(title, {{"json", R"({"x": NaN, "y": -Infinity, "title": "a NaN"})"}}), "a NaN");
  EXPECT_EQ(text(title, {{"json", R"({"title": "one", "title": "two"})"}}), "two");
  EXPECT_EQ(text(title, {{"json", R"({"title": "x\ud800y"})"}}), "x\xef\xbf\xbdy");
  EXPECT_EQ(text(title, {{"json", R"({"title": "\ud83d\ude00 \" NaN"})"}}),
            "\xf0\x9f\x98\x80 \" NaN");
  EXPECT_EQ(text(title, {{"json", R"({"title": 3})"}}), "!no_text");
  EXPECT_EQ(text(title, {{"json", R"({"title": )"}}), "!tokenizer");
  EXPECT_EQ(text(title, {{"json", std::string(70, '[') + std::string(70, ']')}}), "!tokenizer");
  EXPECT_EQ(text(keys({"json:/a/1/b"}), {{"json", R"({"a": [0, {"b": "deep"}]})"}}), "deep");
  EXPECT_EQ(text(keys({"json:/a/x"}), {{"json", R"({"a": [0]})"}}), "!no_text");
}

TEST(Captions, ListsAndLinesAreDrawn) {
  std::map<std::string, int> seen;
  CaptionOptions sample = keys({"txt"});
  sample.lines = "sample";
  for (std::uint64_t g = 0; g < 300; ++g) {
    ++seen[text(keys({"json:t"}), {{"json", R"({"t": ["a", "b", 1, "c"]})"}}, g)];
    ++seen[text(sample, {{"txt", "x\n\n y \nz"}}, g)];
  }
  EXPECT_EQ(seen.size(), 6U);
  for (const auto& [value, count] : seen) EXPECT_GT(count, 60) << value;
  CaptionOptions first = keys({"txt"});
  first.lines = "first";
  EXPECT_EQ(text(first, {{"txt", "\n x\ny"}}), " x");
}

TEST(Captions, ProbsAreWeights) {
  CaptionOptions options = keys({"a", "b", "c"});
  options.probs = {1, 3};
  std::map<std::string, int> seen;
  const Texts all = {{"a", "a"}, {"b", "b"}, {"c", "c"}};
  for (std::uint64_t g = 0; g < 2000; ++g) ++seen[text(options, all, g)];
  EXPECT_EQ(seen.count("c"), 0U) << "weight 0";
  EXPECT_NEAR(seen["b"], 1500, 100);
  EXPECT_EQ(text(options, {{"b", " "}, {"c", "c"}}), "c") << "zero weights come last";
  EXPECT_EQ(text(options, all, 5), text(options, all, 5));
  options.probs = {1, 1, 1, 1};
  EXPECT_THROW(CaptionChooser(options, "s"), UsageError);
}

TEST(Captions, JoinCutAndClean) {
  CaptionOptions options = keys({"a", "b", "c"});
  options.join = true;
  EXPECT_EQ(text(options, {{"a", "x "}, {"b", ""}, {"c", "y"}}), "x y");
  std::string big(65536 - 1, 'x');
  EXPECT_EQ(text(keys({"txt"}), {{"txt", big + "\xc3\xa4"}}), big) << "cut at a code point";
  CaptionOptions clean = keys({"txt"});
  clean.clean = {"url_decode", "strip_html", "strip_urls", "collapse_space"};
  EXPECT_EQ(text(clean, {{"txt", "a+%2B<b>c</b>  http://x.y z"}}), "a +c z");
  EXPECT_EQ(text(clean, {{"txt", "<br>"}}), "!empty_text");
  clean.clean = {"wash"};
  EXPECT_THROW(CaptionChooser(clean, "s"), UsageError);
}

}  // namespace
}  // namespace plumbline
