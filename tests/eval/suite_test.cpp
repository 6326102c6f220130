// SUITE.yaml: what is read, what is refused and in which words.
#include <gtest/gtest.h>

#include <array>

#include "plumbline/error.h"
#include "plumbline/eval_suite.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

using test::TempFolder;
using test::write_file;

EvalSuite parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const TempFolder folder;
  write_file(folder / "suite.yaml", text);
  return read_suite(folder / "suite.yaml", overrides);
}

std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    (void)parse(text, overrides);
  } catch (const UsageError& e) {
    return e.what();
  }
  return "accepted";
}

TEST(Suite, ReadsSetsAndDefaults) {
  const EvalSuite suite = parse(
      "templates: simple\n"
      "sets:\n"
      "  - {name: a, layout: webdataset, path: p/a, role: reference}\n"
      "  - {name: b, layout: imagenetv2, path: p/b, reference: a, classes: in_r}\n"
      "  - {name: c, layout: objectnet, path: p/c, head: imagenet, border_px: 0}\n");
  EXPECT_EQ(suite.templates, "simple");
  ASSERT_EQ(suite.sets.size(), 3U);
  EXPECT_EQ(suite.sets[0].role, "reference");
  EXPECT_EQ(suite.sets[0].split, "test");
  EXPECT_EQ(suite.sets[1].role, "shift");
  EXPECT_EQ(suite.sets[1].variant, "matched-frequency");
  EXPECT_EQ(suite.sets[1].classes, "in_r");
  EXPECT_EQ(suite.sets[2].border_px, 0);
  EXPECT_EQ(suite.sets[2].head, "imagenet");
}

TEST(Suite, OverridesReachSets) {
  const EvalSuite suite = parse("sets: [{name: a, layout: webdataset, path: p}]",
                                {"templates=photo", "sets.0.split=val"});
  EXPECT_EQ(suite.templates, "photo");
  EXPECT_EQ(suite.sets[0].split, "val");
}

TEST(Suite, RefusesWhatItDoesNotKnow) {
  const std::string set = "{name: a, layout: webdataset, path: p";
  const auto contains = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos ? std::string("yes") : text;
  };
  EXPECT_EQ(contains(refusal("sets: [" + set + ", spilt: val}]"), "spilt"), "yes");
  EXPECT_EQ(contains(refusal("template: simple\nsets: [" + set + "}]"), "template"), "yes");
  EXPECT_EQ(contains(refusal("sets: [{name: a, layout: fmov, path: p}]"), "layout"), "yes");
  EXPECT_EQ(contains(refusal("sets: [{name: a, layout: imagefolder}]"), "'path'"), "yes");
  EXPECT_EQ(contains(refusal("sets: [" + set + ", kind: ranking}]"), "kind"), "yes");
  EXPECT_EQ(contains(refusal("sets: [{name: a/b, layout: imagefolder, path: p}]"), "name"), "yes");
  EXPECT_EQ(contains(refusal("sets: [" + set + "}, " + set + "}]"), "second set 'a'"), "yes");
  EXPECT_EQ(contains(refusal("sets: [" + set + ", reference: b}]"), "no other set"), "yes");
  EXPECT_EQ(contains(refusal("sets: []"), "at least one"), "yes");
  EXPECT_EQ(contains(refusal("templates: simple"), "at least one"), "yes");
}

TEST(Suite, AProbeHasKeysOfItsOwn) {
  const EvalSuite suite = parse(
      "sets:\n"
      "  - {name: a, kind: linear_probe, layout: webdataset, path: p}\n"
      "  - {name: b, kind: linear_probe, layout: imagefolder, path: p/test, train: p/train,\n"
      "     validation: p/val, shots: 16, normalise: false}\n");
  EXPECT_EQ(suite.sets[0].train, "train");
  EXPECT_EQ(suite.sets[0].validation, "");
  EXPECT_EQ(suite.sets[0].shots, 0);
  EXPECT_TRUE(suite.sets[0].normalise);
  EXPECT_EQ(suite.sets[1].train, "p/train");
  EXPECT_EQ(suite.sets[1].shots, 16);
  EXPECT_FALSE(suite.sets[1].normalise);
  EXPECT_NE(refusal("sets: [{name: a, kind: linear_probe, layout: imagefolder, path: p}]")
                .find("'train'"),
            std::string::npos);
  EXPECT_NE(refusal("sets: [{name: a, layout: webdataset, path: p, shots: 3}]")
                .find("only for the kind linear_probe"),
            std::string::npos);
}

TEST(Suite, AKeyWhereItMeansNothingIsRefused) {
  const auto refused = [](const std::string& layout, const std::string& keys) {
    return refusal("sets: [{name: a, path: p, layout: " + layout + ", " + keys + "}]");
  };
  for (const auto& [layout, keys, says] : std::vector<std::array<std::string, 3>>{
           {"imagenet", "variant: top-images",
            "'sets[0].variant' is only for the layout imagenetv2"},
           {"imagefolder", "split: val", "is only for the layouts webdataset"},
           {"imagenet_r", "head: own", "is only for the layout objectnet"},
           {"imagefolder", "border_px: 0", "is only for the layout objectnet"},
           {"imagefolder", "min_images: 5", "beside 'classes: present'"},
           {"webdataset", "kind: retrieval, templates: photo",
            "for the kinds classification and multilabel"},
           {"webdataset", "kind: retrieval, classes: present",
            "for the kinds classification and linear_probe"},
           {"webdataset", "kind: linear_probe, prompts: x",
            "for the kinds classification and multilabel"},
           {"webdataset", "prompts: x, templates: photo", "give one of them"}}) {
    const std::string said = refused(layout, keys);
    EXPECT_NE(said.find(says), std::string::npos) << keys << ": " << said;
  }
  EXPECT_EQ(refused("webdataset", "split: val, classes: present, min_images: 5"), "accepted");
  EXPECT_EQ(refused("imagenetv2", "variant: top-images, templates: photo"), "accepted");
  EXPECT_EQ(refused("objectnet", "head: imagenet, border_px: 0, classes: x"), "accepted");
}

TEST(Suite, MissingFolderIsNamed) {
  const EvalSuite suite = parse("sets: [{name: a, layout: imagefolder, path: no/such/folder}]");
  try {
    check_paths(suite);
    FAIL() << "accepted";
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("no/such/folder"), std::string::npos);
  }
}

TEST(Suite, ShippedSuitesAreValid) {
  const std::string configs = std::string(PLUMBLINE_SOURCE_DIR) + "/configs/eval/";
  EXPECT_EQ(read_suite(configs + "imagenet-shifts.yaml").sets.size(), 6U);
  EXPECT_EQ(read_suite(configs + "pictures.yaml").sets.size(), 6U);
  EXPECT_EQ(read_suite(configs + "pictures-same-classes.yaml").sets.size(), 10U);
  EXPECT_EQ(read_suite(configs + "wilds.yaml").sets.size(), 4U);
  EXPECT_EQ(read_suite(configs + "retrieval.yaml").sets.size(), 2U);
  EXPECT_EQ(read_suite(configs + "linear-probe.yaml").sets.size(), 2U);
}

}  // namespace
}  // namespace plumbline
