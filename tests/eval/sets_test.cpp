// Every layout on disk: order, labels, class restriction, broken sets.
#include <gtest/gtest.h>

#include "plumbline/error.h"
#include "plumbline/eval_suite.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

using test::make_png;
using test::TempFolder;
using test::write_file;

class Sets : public ::testing::Test {
 protected:
  void SetUp() override { test::write_assets(folder_ / "assets", 12); }

  EvalSetOptions options(const std::string& layout, const std::string& path) {
    EvalSetOptions o;
    o.name = "set";
    o.layout = layout;
    o.path = folder_ / path;
    o.where = "suite.yaml:1: 'sets.0' ";
    return o;
  }
  EvalSet open(const EvalSetOptions& o, const std::string& templates = "name-only") {
    return open_eval_set(o, templates, folder_ / "assets");
  }
  /// Code and words of the error, or "opened".
  std::string failure(const EvalSetOptions& o, const std::string& templates = "name-only") {
    try {
      (void)open(o, templates);
    } catch (const Error& e) {
      return std::to_string(static_cast<int>(e.code())) + " " + e.what();
    }
    return "opened";
  }
  void put(const std::string& path) { write_file(folder_ / path, make_png(4, 4, 1)); }
  void expect_failure(const EvalSetOptions& o, int code, const std::string& part,
                      const std::string& templates = "name-only") {
    const std::string text = failure(o, templates);
    EXPECT_EQ(text.substr(0, text.find(' ')), std::to_string(code)) << text;
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }

  TempFolder folder_;
};

std::vector<std::string> keys(const EvalSet& set) {
  std::vector<std::string> out;
  for (const ImageRef& item : set.items) out.push_back(item.key);
  return out;
}

std::string wnid(int i) { return str("n0000000", i % 10); }

using Strings = std::vector<std::string>;
using Targets = std::vector<std::int32_t>;

TEST_F(Sets, WebdatasetInShardOrder) {
  test::write_webdataset(folder_ / "w", {"cat", "dog", "cow"}, {2, 0, 1, 1, 2}, 2);
  const EvalSet set = open(options("webdataset", "w"), "own");
  EXPECT_EQ(keys(set), (Strings{"s0000000", "s0000001", "s0000002", "s0000003", "s0000004"}));
  EXPECT_EQ(set.targets, (Targets{2, 0, 1, 1, 2}));
  EXPECT_EQ(set.prompts[1], (Strings{"a dog", "a picture of a dog"}));
  for (std::size_t i = 0; i < 5; ++i) {
    const auto bytes = read_image_bytes(set.items[i]);
    EXPECT_EQ(std::string(bytes.begin(), bytes.end()), make_png(9, 8, i)) << i;
  }
}

TEST_F(Sets, TemplatesBySuiteSetAndFolder) {
  test::write_webdataset(folder_ / "w", {"cat", "dog"}, {0, 1}, 1);
  EvalSetOptions o = options("webdataset", "w");
  EXPECT_EQ(open(o, "").prompts[0].size(), 2U);  // the folder's own
  EXPECT_EQ(open(o, "openai80").prompts[0], (Strings{"a photo of a cat.", "cat, cat!"}));
  EXPECT_EQ(open(o, "photo").prompts[1], (Strings{"a photo of a dog."}));
  o.templates = "simple";
  EXPECT_EQ(open(o, "photo").prompts[1], (Strings{"itap of a dog."}));
  write_file(folder_ / "t.txt", "fine {c}\nno place\n");
  o.templates = folder_ / "t.txt";
  expect_failure(o, 2, "t.txt:2");
  write_file(folder_ / "p.json", R"([["one", "two"], ["three"]])");
  o.prompts = folder_ / "p.json";
  EXPECT_EQ(open(o).prompts, (std::vector<Strings>{{"one", "two"}, {"three"}}));
  write_file(folder_ / "p.json", R"({"cow": ["c"], "cat": ["x", "y"], "dog": ["z"]})");
  EXPECT_EQ(open(o, "").prompts, (std::vector<Strings>{{"x", "y"}, {"z"}}));  // by name
  write_file(folder_ / "p.json", R"([["one"], ["two"], ["three"]])");
  expect_failure(o, 2, "3 classes");
  write_file(folder_ / "p.json", R"({"dog": ["x"]})");
  expect_failure(o, 2, "p.json");
}

TEST_F(Sets, BrokenWebdatasetsNameShardAndKey) {
  const Strings names = {"cat", "dog"};
  test::write_webdataset(folder_ / "w", names, {0, 1, 2}, 1);
  expect_failure(options("webdataset", "w"), 65, "0.tar: sample 's0000002' has the label '2'");
  test::write_webdataset(folder_ / "v", names, {0, 1}, 2);
  std::filesystem::remove(folder_ / "v/test/1.tar");
  expect_failure(options("webdataset", "v"), 65, "1.tar");
  const std::string png = make_png(3, 3, 0);
  test::write_tar(folder_ / "v/test/1.tar", {{"a.png", png}});
  expect_failure(options("webdataset", "v"), 65, "sample 'a' has no label");
  test::write_tar(folder_ / "v/test/1.tar", {{"b.cls", "0"}});
  expect_failure(options("webdataset", "v"), 65, "sample 'b' has no image");
  test::write_tar(folder_ / "v/test/1.tar", {{"b.cls", "1x"}, {"b.png", png}});
  expect_failure(options("webdataset", "v"), 65, "'1x'");
  write_file(folder_ / "v/test/1.tar", std::string(700, 'x'));
  expect_failure(options("webdataset", "v"), 65, "1.tar");
  write_file(folder_ / "v/dataset_type.txt", "retrieval\n");
  expect_failure(options("webdataset", "v"), 2, "retrieval");
  std::filesystem::remove(folder_ / "w/test/nshards.txt");
  expect_failure(options("webdataset", "w"), 2, "nshards.txt");
}

TEST_F(Sets, ClassesPresentLeaveOutTheAbsentAndTheRare) {
  test::write_webdataset(folder_ / "w", {"a", "b", "c", "d"}, {3, 1, 3, 1, 0}, 1);
  EvalSetOptions o = options("webdataset", "w");
  o.classes = "present";
  EvalSet set = open(o);
  EXPECT_EQ(set.class_names, (Strings{"a", "b", "d"}));
  EXPECT_EQ(set.targets, (Targets{2, 1, 2, 1, 0}));
  o.min_images = 2;
  set = open(o);
  EXPECT_EQ(set.class_names, (Strings{"b", "d"}));
  EXPECT_EQ(set.prompts, (std::vector<Strings>{{"b"}, {"d"}}));
  EXPECT_EQ(keys(set), (Strings{"s0000000", "s0000001", "s0000002", "s0000003"}));
  EXPECT_EQ(set.targets, (Targets{1, 0, 1, 0}));
  o.min_images = 3;
  expect_failure(o, 65, "no image");
}

TEST_F(Sets, ClassListsByPathNameOneClassALine) {
  test::write_webdataset(folder_ / "w", {"a", "b", "b"}, {0, 1, 2}, 1);
  EvalSetOptions o = options("webdataset", "w");
  o.classes = folder_ / "list.txt";
  write_file(o.classes, "a\n");
  EXPECT_EQ(open(o).size(), 1);
  write_file(o.classes, "a\nb\n");
  expect_failure(o, 2, "list.txt:2: 'b' names 2 classes");
  write_file(o.classes, "2\n0\n");
  EXPECT_EQ(keys(open(o)), (Strings{"s0000000", "s0000002"}));
  write_file(o.classes, "3\n");
  expect_failure(o, 2, "'3' names 0 classes");
  write_file(o.classes, "zebra\n");
  expect_failure(o, 2, "names 0 classes");
}

TEST_F(Sets, ImagefolderSortsBytewise) {
  for (const char* path : {"f/b/2.png", "f/b/10.png", "f/B/x.JPEG", "f/a/y.webp", "f/a/notes.txt",
                           "f/a/.hidden.png", "f/README.txt"}) {
    put(path);
  }
  const EvalSet set = open(options("imagefolder", "f"));
  EXPECT_EQ(set.class_names, (Strings{"B", "a", "b"}));
  EXPECT_EQ(keys(set), (Strings{"B/x.JPEG", "a/y.webp", "b/10.png", "b/2.png"}));
  EXPECT_EQ(set.targets, (Targets{0, 1, 2, 2}));
  EvalSetOptions named = options("imagefolder", "f");
  named.names = folder_ / "names.txt";
  write_file(named.names, "bee\nant\n");
  expect_failure(named, 2, "2 names for 3");
  expect_failure(options("imagefolder", "no"), 2, "no folder");
}

TEST_F(Sets, ImagenetByWnid) {
  test::write_assets(folder_ / "assets", 5);
  for (int i = 0; i < 5; ++i) put("i/val/" + wnid(i) + "/x_" + std::to_string(i) + ".JPEG");
  EvalSet set = open(options("imagenet", "i"));
  EXPECT_EQ(set.targets, (Targets{0, 1, 2, 3, 4}));
  EXPECT_EQ(set.class_names[4], "name 4");
  EvalSetOptions o = options("imagenet", "i/val");
  o.classes = "in_r";
  set = open(o);
  EXPECT_EQ(set.class_names, (Strings{"name 1", "name 3"}));
  EXPECT_EQ(set.targets, (Targets{0, 1}));
  EXPECT_EQ(keys(set)[1], wnid(3) + "/x_3.JPEG");
  std::filesystem::create_directories(folder_ / "i/val/n99999999");
  expect_failure(options("imagenet", "i"), 2, "n99999999");
  std::filesystem::remove_all(folder_ / "i/val/n99999999");
  std::filesystem::remove_all(folder_ / ("i/val/" + wnid(2)));
  expect_failure(options("imagenet", "i"), 2, wnid(2));
}

TEST_F(Sets, ImagenetV2FoldersAreNumbers) {
  for (int i = 0; i < 12; ++i) put("v2/" + std::to_string(i) + "/img.jpeg");
  const EvalSet set = open(options("imagenetv2", "v2"));
  ASSERT_EQ(set.size(), 12);
  for (std::int32_t i = 0; i < 12; ++i) {
    const auto at = static_cast<std::size_t>(i);
    EXPECT_EQ(set.targets[at], i);
    EXPECT_EQ(set.items[at].key, std::to_string(i) + "/img.jpeg");
  }
  put("v2/0012/img.jpeg");
  expect_failure(options("imagenetv2", "v2"), 2, "0012");
}

TEST_F(Sets, ImagenetRAndAHaveTheirOwnFolders) {
  put("r/" + wnid(1) + "/a.jpg");
  put("r/" + wnid(3) + "/b.jpg");
  write_file(folder_ / "r/README.txt", "hello");
  const EvalSet set = open(options("imagenet_r", "r"));
  EXPECT_EQ(set.class_names, (Strings{"name 1", "name 3"}));
  EXPECT_EQ(set.targets, (Targets{0, 1}));
  expect_failure(options("imagenet_a", "r"), 2, wnid(4));
  for (int i = 0; i < 12; ++i) {
    char name[16];
    std::snprintf(name, sizeof name, "n%08d", i);
    put(std::string("k/sketch/") + name + "/s.JPEG");
  }
  EXPECT_EQ(open(options("imagenet_sketch", "k")).size(), 12);
}

TEST_F(Sets, ObjectNetFoldersMayBeSeveralClasses) {
  write_file(folder_ / "map.csv",
             "index,wnid,objectnet_folder\n0,n00000000,\n2,n00000002,Tie\n5,n00000005,alarm_clock\n"
             "7,n00000007,Tie\n");
  put("o/images/Tie/1.png");
  put("o/images/alarm_clock/2.png");
  put("o/images/unused/3.png");
  EvalSetOptions o = options("objectnet", "o");
  expect_failure(o, 2, "needs 'classes'");
  o.classes = folder_ / "map.csv";
  EvalSet set = open(o);
  EXPECT_EQ(set.class_names, (Strings{"tie", "alarm clock"}));
  EXPECT_EQ(set.targets, (Targets{0, 1}));
  EXPECT_TRUE(set.class_of_column.empty());
  o.head = "imagenet";
  set = open(o);
  EXPECT_EQ(set.prompts, (std::vector<Strings>{{"name 2"}, {"name 5"}, {"name 7"}}));
  EXPECT_EQ(set.class_of_column, (Targets{0, 1, 0}));
  EXPECT_EQ(set.class_names.size(), 2U);
}

// The release's own four files, as its folder mappings holds them.
TEST_F(Sets, ObjectNetByTheMappingsOfItsRelease) {
  const std::string mappings = "o/mappings/";
  write_file(folder_ / (mappings + "folder_to_objectnet_label.json"),
             R"({"tie": "Neck tie", "clock": "Alarm clock", "unused": "Unused"
})");
  write_file(folder_ / (mappings + "objectnet_to_imagenet_1k.json"),
             R"({"Neck tie": "bow tie, bow-tie; bolo tie, bolo", "Alarm clock": "clock"
})");
  put("o/images/tie/1.png");
  put("o/images/clock/2.png");
  put("o/images/unused/3.png");
  EvalSetOptions o = options("objectnet", "o");
  EvalSet set = open(o);  // the own head needs no index of ImageNet
  EXPECT_EQ(set.class_names, (Strings{"alarm clock", "neck tie"}));
  EXPECT_EQ(set.targets, (Targets{0, 1}));
  o.head = "imagenet";
  expect_failure(o, 2, "pytorch_to_imagenet_2012_id.json");
  // Line i of the labels is class i of 2012, whose index the other file gives.
  write_file(folder_ / (mappings + "imagenet_to_label_2012_v2"),
             "clock\nbow tie, bow-tie\nbolo tie, bolo\n");
  write_file(folder_ / (mappings + "pytorch_to_imagenet_2012_id.json"),
             R"({"5": 0, "7": 1, "2": 2})");
  set = open(o);
  EXPECT_EQ(set.prompts, (std::vector<Strings>{{"name 2"}, {"name 5"}, {"name 7"}}));
  EXPECT_EQ(set.class_of_column, (Targets{1, 0, 1}));
  o.path = folder_ / "o/images";
  o.classes = folder_ / "o/mappings";
  EXPECT_EQ(open(o).class_of_column, (Targets{1, 0, 1}));
  write_file(folder_ / (mappings + "objectnet_to_imagenet_1k.json"), R"({"Neck tie": "cravat"
  })");
  expect_failure(o, 2, "'cravat' of 'Neck tie' is no class");
  write_file(folder_ / (mappings + "objectnet_to_imagenet_1k.json"), R"({"Shoe": "clock"})");
  expect_failure(o, 2, "'Shoe' is the label of no folder");
}

}  // namespace
}  // namespace plumbline
