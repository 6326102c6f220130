#include "data/shard_list.h"

#include <gtest/gtest.h>

#include "plumbline/error.h"
#include "tests/data/fixture.h"

namespace plumbline {
namespace {

using Strings = std::vector<std::string>;

TEST(ExpandBraces, NumbersListsAndNesting) {
  EXPECT_EQ(expand_braces("a"), Strings{"a"});
  EXPECT_EQ(expand_braces("{008..011}.tar"), (Strings{"008.tar", "009.tar", "010.tar", "011.tar"}));
  EXPECT_EQ(expand_braces("{8..10}"), (Strings{"8", "9", "10"}));
  EXPECT_EQ(expand_braces("{a,b}{0..1}"), (Strings{"a0", "a1", "b0", "b1"}));
  EXPECT_EQ(expand_braces("{a,b{1,2}}x"), (Strings{"ax", "b1x", "b2x"}));
  EXPECT_THROW((void)expand_braces("{a"), UsageError);
  EXPECT_THROW((void)expand_braces("a}"), UsageError);
  EXPECT_THROW((void)expand_braces("{0..99999999}"), UsageError);
}

TEST(ListShards, GlobsFilesAndJoins) {
  const TempFolder folder;
  for (const char* name : {"b.tar", "a.tar", "c.tar"}) folder.write(name, "x");
  folder.write("list", "{a,b}.tar\n\nc.tar\r\n");
  const Strings all = {folder / "a.tar", folder / "b.tar", folder / "c.tar"};
  EXPECT_EQ(list_shards({folder / "*.tar"}, "error", "s"), all);
  EXPECT_EQ(list_shards({all[0] + "::" + all[1], all[2]}, "error", "s"), all);
  folder.write("list", all[0] + "\n\n" + all[2] + "\r\n");
  EXPECT_EQ(list_shards({"@" + folder / "list"}, "error", "s"), (Strings{all[0], all[2]}));
  EXPECT_THROW((void)list_shards({folder / "*.zip"}, "error", "s"), UsageError);
}

TEST(ListShards, NamesTheFirstFiveMissing) {
  const TempFolder folder;
  folder.write("3.tar", "x");
  const std::string pattern = folder / "{0..8}.tar";
  try {
    (void)list_shards({pattern}, "error", "laion");
    FAIL() << "eight shards are missing";
  } catch (const UsageError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("laion"), std::string::npos) << what;
    EXPECT_NE(what.find("8 of 9"), std::string::npos) << what;
    EXPECT_NE(what.find("5.tar, ..."), std::string::npos) << what;
    EXPECT_EQ(what.find("6.tar"), std::string::npos) << what;
  }
  EXPECT_EQ(list_shards({pattern}, "skip", "laion"), Strings{folder / "3.tar"});
  EXPECT_THROW((void)list_shards({folder / "3.tar", folder / "3.tar"}, "skip", "s"), UsageError);
}

TEST(ListShards, RefusesPipesAndUrls) {
  EXPECT_THROW((void)list_shards({"pipe:cat a::b"}, "error", "s"), UsageError);
  EXPECT_THROW((void)list_shards({"s3://bucket/a.tar"}, "error", "s"), UsageError);
}

}  // namespace
}  // namespace plumbline
