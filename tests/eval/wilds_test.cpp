// iWildCam and FMoW as WILDS lays them out, in miniature.
#include <gtest/gtest.h>

#include "plumbline/error.h"
#include "plumbline/eval_suite.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

using Strings = std::vector<std::string>;
using Targets = std::vector<std::int32_t>;

class Wilds : public ::testing::Test {
 protected:
  EvalSetOptions options(const std::string& layout, const std::string& split) {
    EvalSetOptions o;
    o.name = "set";
    o.layout = layout;
    o.path = folder_ / layout;
    o.split = split;
    o.where = "suite.yaml:1: 'sets.0' ";
    return o;
  }
  static EvalSet open(const EvalSetOptions& o) { return open_eval_set(o, "", ""); }
  static std::string failure(const EvalSetOptions& o) {
    try {
      (void)open(o);
    } catch (const Error& e) {
      return str(static_cast<int>(e.code()), " ", e.what());
    }
    return "opened";
  }
  void put(const std::string& path, const std::string& text) {
    test::write_file(folder_ / path, text);
  }
  test::TempFolder folder_;
};

Strings keys(const EvalSet& set) {
  Strings out;
  for (const ImageRef& item : set.items) out.push_back(item.key);
  return out;
}

class IWildCam : public Wilds {
 protected:
  void SetUp() override {
    put("iwildcam/metadata.csv",
        "split,location_remapped,y,filename\n"
        "train,1,0,a.jpg\ntest,2,2,b.jpg\nid_test,1,1,c.jpg\ntest,3,0,d.jpg\nval,4,1,e.jpg\n"
        "id_val,1,2,f.jpg\n");
    put("names.txt", "Empty\nWhite-Lipped Peccary\nocelot\n");
  }
  EvalSetOptions named(const std::string& split) {
    EvalSetOptions o = options("iwildcam", split);
    o.names = folder_ / "names.txt";
    return o;
  }
};

TEST_F(IWildCam, SplitsOfTheTableOneFolderOfImages) {
  const EvalSet set = open(named("test"));
  EXPECT_EQ(keys(set), (Strings{"b.jpg", "d.jpg"}));
  EXPECT_EQ(set.targets, (Targets{2, 0}));
  EXPECT_EQ(set.items[0].file, folder_ / "iwildcam/train/b.jpg");
  EXPECT_EQ(set.class_names, (Strings{"empty", "white-lipped peccary", "ocelot"}));
  EXPECT_EQ(set.prompts[1],
            (Strings{"a photo of white-lipped peccary.", "white-lipped peccary in the wild."}));
  EXPECT_EQ(keys(open(named("train"))), (Strings{"a.jpg"}));
  EXPECT_EQ(keys(open(named("val"))), (Strings{"e.jpg"}));
  EXPECT_EQ(keys(open(named("id_val"))), (Strings{"f.jpg"}));
  EXPECT_EQ(keys(open(named("id_test"))), (Strings{"c.jpg"}));
}

TEST_F(IWildCam, WhatIsWrongIsNamed) {
  EXPECT_EQ(failure(named("ood")).substr(0, 2), "2 ");
  EXPECT_NE(failure(options("iwildcam", "test")).find("needs 'names'"), std::string::npos);
  put("names.txt", "empty\npeccary\n");
  EXPECT_NE(failure(named("test")).find("2 names for 3 classes"), std::string::npos);
  put("iwildcam/metadata.csv", "split,y,filename\ntest,0,a.jpg\ntest,x,b.jpg\n");
  const std::string text = failure(named("test"));
  EXPECT_EQ(text.substr(0, 3), "65 ") << text;
  EXPECT_NE(text.find("metadata.csv:3: y 'x'"), std::string::npos) << text;
  put("iwildcam/metadata.csv", "split,label,filename\n");
  EXPECT_NE(failure(named("test")).find("no column 'y'"), std::string::npos);
}

TEST_F(IWildCam, AProbeNeedsNoNames) {
  EvalSetOptions o = options("iwildcam", "test");
  o.kind = "linear_probe";
  o.train = "train";
  o.validation = "id_val";
  const EvalSet set = open(o);
  EXPECT_EQ(set.class_names.size(), 3U);
  EXPECT_TRUE(set.prompts.empty());
  EXPECT_EQ(set.train.targets, (Targets{0}));
  EXPECT_EQ(set.validation.items[0].key, "f.jpg");
}

class Fmow : public Wilds {
 protected:
  void SetUp() override {
    put("fmow/country_code_mapping.csv",
        "name,alpha-2,alpha-3,region\nFrance,FR,FRA,Europe\n\"Korea, Republic of\",KR,KOR,Asia\n"
        "Antarctica,AQ,ATA,\n");
    put("fmow/rgb_metadata.csv",
        "split,category,timestamp,country_code\n"
        "test,zoo,2016-01-01T00:00:00Z,FRA\n"                 // 0: test
        "seq,port,2017-05-01T00:00:00Z,FRA\n"                 // 1: dropped
        "test,airport,2017-12-31T23:59:59Z,XXX\n"             // 2: test, unknown country
        "test,zoo,2012-12-31T23:59:59Z,FRA\n"                 // 3: id_test
        "val,oil_or_gas_facility,2013-01-01T00:00:00Z,KOR\n"  // 4: val
        "val,zoo,2015-12-31T23:59:59Z,ATA\n"                  // 5: val, without region
        "val,zoo,2016-01-01T00:00:00Z,FRA\n"                  // 6: none
        "val,airport,2002-03-04T00:00:00Z,FRA\n"              // 7: id_val
        "test,airport,2014-01-01T00:00:00Z,FRA\n"             // 8: none
        "train,airport,2010-01-01T00:00:00Z,FRA\n"            // 9: train
        "train,airport,2013-01-01T00:00:00Z,FRA\n"            // 10: none
        "test,zoo,2018-01-02T00:00:00Z,KOR\n");               // 11: test, after the last year
  }
};

TEST_F(Fmow, TimeMakesTheSplitsRowsNameTheImages) {
  const EvalSet set = open(options("fmow", "test"));
  EXPECT_EQ(keys(set), (Strings{"rgb_img_0.png", "rgb_img_2.png", "rgb_img_11.png"}));
  EXPECT_EQ(set.items[1].file, folder_ / "fmow/images/rgb_img_2.png");
  EXPECT_EQ(set.class_names, (Strings{"airport", "oil_or_gas_facility", "zoo"}));
  EXPECT_EQ(set.targets, (Targets{2, 0, 2}));
  EXPECT_EQ(keys(open(options("fmow", "val"))), (Strings{"rgb_img_4.png", "rgb_img_5.png"}));
  EXPECT_EQ(keys(open(options("fmow", "id_test"))), (Strings{"rgb_img_3.png"}));
  EXPECT_EQ(keys(open(options("fmow", "id_val"))), (Strings{"rgb_img_7.png"}));
  EXPECT_EQ(keys(open(options("fmow", "train"))), (Strings{"rgb_img_9.png"}));
}

TEST_F(Fmow, SixteenPrompts) {
  const EvalSet set = open(options("fmow", "test"));
  ASSERT_EQ(set.prompts[1].size(), 16U);
  const auto has = [&](std::size_t c, const std::string& text) {
    return std::find(set.prompts[c].begin(), set.prompts[c].end(), text) != set.prompts[c].end();
  };
  EXPECT_TRUE(has(1, "satellite photo of a oil_or_gas_facility."));
  EXPECT_TRUE(has(1, "aerial photo of an oil or gas facility."));
  EXPECT_TRUE(has(2, "aerial photo of a zoo."));
  EXPECT_TRUE(has(1, "satellite photo of a oil_or_gas_facility in the americas."));
  EXPECT_TRUE(has(0, "aerial photo of a airport in oceania."));
  EXPECT_TRUE(has(1, "a photo of a oil_or_gas_facility."));
  EXPECT_TRUE(has(1, "oil_or_gas_facility."));
}

TEST_F(Fmow, WorstRegionAndYear) {
  const EvalSet set = open(options("fmow", "test"));
  ASSERT_EQ(set.groupings.size(), 2U);
  EXPECT_EQ(set.groupings[0].groups, (Strings{"Europe", "Other", "Asia"}));
  EXPECT_EQ(set.groupings[0].group_of, (Targets{0, 1, 2}));
  EXPECT_EQ(set.groupings[1].group_of, (Targets{14, 15, -1}));  // years from 2002
  // Only the image of the unknown country is wrong: it is in no region that counts.
  const SetResult r = measure(
      set,
      std::vector<Score>{{1, {2, 0, 1, -1, -1}}, {1, {2, 0, 1, -1, -1}}, {1, {2, 0, 1, -1, -1}}});
  EXPECT_EQ(*r.groups[0].worst, 1);
  EXPECT_EQ(r.groups[0].worst_group, "Europe");
  EXPECT_EQ(r.groups[0].n, (std::vector<std::int64_t>{1, 1, 1}));
  EXPECT_EQ(r.groups[0].correct, (std::vector<std::int64_t>{1, 0, 1}));
  EXPECT_EQ(*r.groups[1].worst, 0);
  EXPECT_EQ(r.groups[1].worst_group, "2017");
  const SetResult none = measure(set, std::vector<Score>(3));
  EXPECT_FALSE(none.groups[0].worst.has_value());
}

TEST_F(Fmow, GroupsFollowTheClassesThatAreKept) {
  EvalSetOptions o = options("fmow", "test");
  o.classes = folder_ / "list.txt";
  put("list.txt", "zoo\n");
  const EvalSet set = open(o);
  EXPECT_EQ(keys(set), (Strings{"rgb_img_0.png", "rgb_img_11.png"}));
  EXPECT_EQ(set.groupings[0].group_of, (Targets{0, 2}));
  EXPECT_EQ(set.groupings[1].group_of, (Targets{14, -1}));
}

TEST_F(Fmow, WhatIsWrongIsNamed) {
  EXPECT_EQ(failure(options("fmow", "seq")).substr(0, 2), "2 ");
  put("fmow/rgb_metadata.csv", "split,category,timestamp,country_code\ntest,zoo,2016/01/01,FRA\n");
  const std::string text = failure(options("fmow", "test"));
  EXPECT_NE(text.find("rgb_metadata.csv:2: timestamp '2016/01/01'"), std::string::npos) << text;
  EXPECT_EQ(text.substr(0, 3), "65 ") << text;
  std::filesystem::remove(folder_ / "fmow/country_code_mapping.csv");
  EXPECT_NE(failure(options("fmow", "test")).find("country_code_mapping.csv"), std::string::npos);
}

}  // namespace
}  // namespace plumbline
