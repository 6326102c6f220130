#include "config/config_node.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "plumbline/error.h"

namespace plumbline {
namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::usage);
    return e.what();
  }
  return "(no error)";
}

TEST(ConfigNode, ReadsTypesAndKeepsDefaults) {
  const ConfigNode root =
      ConfigNode::parse("a: 3\nb: 2.5\nc: [1, 2]\nd: 'true'\ne: true\nbig: 1.28e7\n", "f.yaml");
  int a = 0, absent = 9;
  double b = 0;
  std::vector<double> c;
  bool e = false;
  std::int64_t big = 0;
  root["a"].get(a);
  root["b"].get(b);
  root["c"].get(c);
  root["e"].get(e);
  root["big"].get(big);
  root["absent"].get(absent);
  EXPECT_EQ(a, 3);
  EXPECT_EQ(b, 2.5);
  EXPECT_EQ(c, (std::vector<double>{1, 2}));
  EXPECT_TRUE(e);
  EXPECT_EQ(big, 12800000);
  EXPECT_EQ(absent, 9);
}

TEST(ConfigNode, UnknownKeyNamesFileLineAndSuggests) {
  const ConfigNode root = ConfigNode::parse("optimizer:\n  beta: [0.9, 0.98]\n", "x.yaml");
  std::vector<double> betas;
  root["optimizer"]["betas"].get(betas);
  EXPECT_EQ(message_of([&] { root.reject_unknown(); }),
            "x.yaml:2: unknown key 'optimizer.beta' (did you mean 'optimizer.betas'?)");
}

TEST(ConfigNode, DuplicateKeyAndWrongTypeAndRange) {
  EXPECT_EQ(message_of([] { (void)ConfigNode::parse("a: 1\na: 2\n", "x.yaml"); }),
            "x.yaml:2: the key 'a' stands twice");
  const ConfigNode root = ConfigNode::parse("a: 1\nb: many\n", "x.yaml");
  int value = 0;
  EXPECT_EQ(message_of([&] { root["b"].get(value); }),
            "x.yaml:2: 'b' expected an integer (it is 'many')");
  EXPECT_EQ(message_of([&] { root["a"].get_in(value, 2, 5); }),
            "x.yaml:1: 'a' must lie in [2, 5] (it is '1')");
}

TEST(ConfigNode, SyntaxErrorHasTheLine) {
  EXPECT_TRUE(message_of([] {
                (void)ConfigNode::parse("a: [1, 2\nb: 3\n", "x.yaml");
              }).starts_with("x.yaml:2: not valid YAML"));
}

TEST(ConfigNode, SetOverridesAndCreates) {
  ConfigNode root = ConfigNode::parse("a: {b: 1}\nl: [{w: 1}, {w: 2}]\n", "x.yaml");
  root.set("a.b=7");
  root.set("c.d=[1, 2]");
  root.set("l.1.w=5");
  int b = 0, w = 0;
  std::vector<int> d;
  root["a"]["b"].get(b);
  root["c"]["d"].get(d);
  root["l"].items()[1]["w"].get(w);
  EXPECT_EQ(b, 7);
  EXPECT_EQ(w, 5);
  EXPECT_EQ(d, (std::vector<int>{1, 2}));
  EXPECT_EQ(message_of([&] { root.set("novalue"); }), "--set novalue: expected key.path=value");
  root.set("a.b=x");
  EXPECT_EQ(message_of([&] { root["a"]["b"].get(b); }),
            "--set a.b=x: 'a.b' expected an integer (it is 'x')");
}

TEST(ConfigNode, EnvironmentIsExpandedInPathsOnly) {
  ::setenv("PLUMBLINE_TEST_ROOT", "/somewhere", 1);
  const ConfigNode root =
      ConfigNode::parse("p: '${PLUMBLINE_TEST_ROOT}/x'\nq: '${NOT_SET_1}'", "x");
  std::string path, text;
  root["p"].get_path(path);
  root["p"].get(text);
  EXPECT_EQ(path, "/somewhere/x");
  EXPECT_EQ(text, "${PLUMBLINE_TEST_ROOT}/x");
  EXPECT_NE(message_of([&] { root["q"].get_path(path); }).find("NOT_SET_1"), std::string::npos);
}

TEST(ConfigNode, BaseLiesBelowTheFile) {
  const auto folder = std::filesystem::temp_directory_path() / "plumbline_config_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "base.yaml") << "a: {x: 1, y: 2}\nb: 3\n";
  std::ofstream(folder / "top.yaml") << "base: base.yaml\na: {y: 5}\n";
  const ConfigNode root = ConfigNode::read((folder / "top.yaml").string());
  int x = 0, y = 0, b = 0;
  root["a"]["x"].get(x);
  root["a"]["y"].get(y);
  root["b"].get(b);
  root.reject_unknown();
  EXPECT_EQ(x, 1);
  EXPECT_EQ(y, 5);
  EXPECT_EQ(b, 3);
  EXPECT_TRUE(
      message_of([] { (void)ConfigNode::read("/no/such.yaml"); }).starts_with("cannot open"));
}

TEST(ConfigNode, JsonRoundTrip) {
  const ConfigNode root =
      ConfigNode::parse("{\"a\": [1, 2.5, null, \"3\"], \"b\": {\"c\": true}}", "x.json");
  EXPECT_EQ(root.to_json(), "{\"a\":[1,2.5,null,\"3\"],\"b\":{\"c\":true}}");
  root.reject_unknown();
}

}  // namespace
}  // namespace plumbline
