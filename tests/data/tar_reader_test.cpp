#include "data/tar_reader.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "core/file.h"
#include "data/sample_group.h"
#include "data/shard_index.h"
#include "tests/data/fixture.h"

namespace plumbline {
namespace {

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::vector<Member> members_of(const ByteSource& source) {
  TarReader reader(source);
  std::vector<Member> members;
  while (auto member = reader.next()) members.push_back(*member);
  return members;
}

std::vector<Member> members_of(const std::string& tar) {
  const std::string name = "memory";
  return members_of(MemoryBytes(bytes_of(tar), name));
}

/// Reads to the error that must come; `before` receives the members until then.
TarError error_of(const std::string& tar, int before) {
  const std::string name = "memory";
  const MemoryBytes source(bytes_of(tar), name);
  TarReader reader(source);
  int seen = 0;
  try {
    while (reader.next()) ++seen;
  } catch (const TarError& error) {
    EXPECT_EQ(seen, before);
    return error;
  }
  ADD_FAILURE() << "no error in " << tar.size() << " bytes";
  return TarError(BadSampleClass::io, 0, "none");
}

void set_checksum(std::string& tar, std::size_t header) {
  for (std::size_t i = 148; i < 156; ++i) tar[header + i] = ' ';
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(tar[header + i]);
  std::snprintf(tar.data() + header + 148, 7, "%06o", sum);
}

const Members kTwo = {{"a.txt", "first"}, {"b.txt", std::string(600, 'b')}};

TEST(TarReader, ReadsEveryFormatOfPython) {
  const TempFolder folder;
  const std::string script = str(PLUMBLINE_SOURCE_DIR, "/tests/data/make_tars.py");
  if (std::system(str("python3 ", script, " ", folder.path()).c_str()) != 0) {
    GTEST_SKIP() << "python3 is not there";
  }
  for (const char* file : {"ustar.tar", "pax.tar", "gnu.tar", "gnu.tar.gz"}) {
    const auto source = open_shard(folder / file, folder.path());
    const std::vector<Member> members = members_of(*source);
    const std::size_t regular = std::string(file).starts_with("ustar") ? 2 : 4;
    ASSERT_EQ(members.size(), 2 + regular) << file;
    EXPECT_FALSE(members[0].regular);
    EXPECT_EQ(members[1].name, "link.txt");
    EXPECT_FALSE(members[1].regular);
    EXPECT_EQ(members[3].name, std::string(90, 'd') + "/" + std::string(90, 'n') + ".txt") << file;
    for (std::size_t i = 0; i < regular; ++i) {
      const Member& member = members[2 + i];
      EXPECT_TRUE(member.regular);
      EXPECT_EQ(member.size, 500 + 7 * i);
      std::vector<std::uint8_t> data(member.size);
      ASSERT_EQ(source->read_at(member.data_offset, data), data.size());
      EXPECT_EQ(data.front(), 65 + i) << file;
      EXPECT_EQ(data.back(), 65 + i) << file;
    }
    if (regular < 4) continue;
    EXPECT_EQ(members[4].name.size(), 300U + 124U) << file;
    EXPECT_EQ(members[5].name.substr(0, 4), "üü") << file;
  }
}

TEST(TarReader, OurWriterRoundTripsLongNames) {
  const std::string name = std::string(150, 'k') + ".txt";
  const std::vector<Member> members = members_of(tar_of({{name, "x"}, {"b.txt", ""}}));
  ASSERT_EQ(members.size(), 2U);
  EXPECT_EQ(members[0].name, name);
  EXPECT_EQ(members[0].header_offset, 0U);
  EXPECT_EQ(members[0].data_offset, 1536U);
  EXPECT_EQ(members[1].header_offset, 2048U);
}

TEST(TarReader, EndVerdicts) {
  const std::string whole = tar_of(kTwo);  // 512 + 512, 512 + 1024, 1024 of end
  EXPECT_EQ(members_of(whole).size(), 2U);
  EXPECT_EQ(members_of(whole.substr(0, 3072)).size(), 2U) << "one zero block, then the end";
  const auto truncated = [&](std::size_t bytes, int before, std::uint64_t at) {
    const TarError error = error_of(whole.substr(0, bytes), before);
    EXPECT_EQ(error.reason(), BadSampleClass::truncated_tar) << bytes;
    EXPECT_EQ(error.byte(), at) << error.what();
  };
  truncated(0, 0, 0);
  truncated(2560, 2, 2560);  // at a member border
  truncated(1100, 1, 1024);  // inside a header
  truncated(1600, 1, 1536);  // inside data
  EXPECT_EQ(error_of(whole.substr(0, 3072) + std::string(512, 'x'), 2).reason(),
            BadSampleClass::bad_header);
}

TEST(TarReader, BadHeaders) {
  std::string flipped = tar_of(kTwo);
  flipped[1024 + 3] ^= 1;
  EXPECT_EQ(error_of(flipped, 1).reason(), BadSampleClass::bad_header);

  std::string negative = tar_of(kTwo);
  for (std::size_t i = 124; i < 136; ++i) negative[i] = '\xff';  // base 256, -1
  set_checksum(negative, 0);
  EXPECT_EQ(error_of(negative, 0).reason(), BadSampleClass::bad_header);

  std::string pax = tar_of({{std::string(120, 'k'), "x"}});
  pax[512] = 'z';  // the record's length
  EXPECT_EQ(error_of(pax, 0).reason(), BadSampleClass::bad_header);
}

TEST(TarReader, Base256SizesAndLinksWithSizes) {
  std::string tar = tar_of(kTwo);
  std::fill_n(tar.begin() + 124, 12, '\0');
  tar[124] = '\x80';
  tar[135] = 5;
  set_checksum(tar, 0);
  EXPECT_EQ(members_of(tar)[0].size, 5U);

  std::string link = tar_of({{"a.txt", ""}, {"b.txt", "b"}});
  link[156] = '2';
  link[134] = '7';  // size 7, but no data follows
  set_checksum(link, 0);
  const std::vector<Member> members = members_of(link);
  ASSERT_EQ(members.size(), 2U);
  EXPECT_FALSE(members[0].regular);
  EXPECT_EQ(members[1].name, "b.txt");
}

TEST(TarReader, GnuTimesAreNoPrefix) {
  std::string tar = tar_of(kTwo);
  std::copy_n("ustar  ", 8, tar.begin() + 257);
  std::copy_n("14371234567", 11, tar.begin() + 345);
  set_checksum(tar, 0);
  EXPECT_EQ(members_of(tar)[0].name, "a.txt");
}

TEST(SplitName, WebdatasetRule) {
  const auto split = [](std::string_view name) {
    const auto parts = split_name(name);
    return parts ? str(parts->key, "|", parts->suffix) : std::string("none");
  };
  EXPECT_EQ(split("a/b.c/d.seg.PNG"), "a/b.c/d|seg.png");
  EXPECT_EQ(split("x.txt"), "x|txt");
  EXPECT_EQ(split("x."), "x|");
  EXPECT_EQ(split("nodot"), "none");
  EXPECT_EQ(split("a/.hidden"), "none");
  EXPECT_EQ(split("__meta__/a.txt"), "none");
}

ShardIndex index_of(const TempFolder& folder, const std::string& tar) {
  folder.write("s.tar", tar);
  return build_index(folder / "s.tar", IndexSettings(), folder.path());
}

TEST(ShardIndex, GroupsAndClasses) {
  const TempFolder folder;
  const ShardIndex index = index_of(folder, tar_of({{"a.jpg", "x"},
                                                    {"a.txt", "t"},
                                                    {".skipped", "?"},
                                                    {"b.txt", "no image"},
                                                    {"c.jpg", "no text"},
                                                    {"d.PNG", "x"},
                                                    {"d.txt", ""},
                                                    {"e.jpg", "x"},
                                                    {"e.txt", "t"},
                                                    {"e.jpg", "again"},
                                                    {"e.txt", "t"},
                                                    {"a.jpg", "late"},
                                                    {"a.txt", "t"}}));
  EXPECT_EQ(index.header.verdict, ShardVerdict::clean);
  EXPECT_EQ(index.header.samples, 7U);
  EXPECT_EQ(index.header.valid, 4U);
  EXPECT_EQ(index.header.split_keys, 1U);
  EXPECT_EQ(index.header.members, 13U);
  const auto count = [&](BadSampleClass c) {
    return index.header.by_class[static_cast<std::size_t>(c)];
  };
  EXPECT_EQ(count(BadSampleClass::no_image), 1U);
  EXPECT_EQ(count(BadSampleClass::no_text), 1U);
  EXPECT_EQ(count(BadSampleClass::empty_text), 1U);
  EXPECT_EQ(index.records[1].ordinal, 4U);
  EXPECT_EQ(index.records[0].image_offset, 512U);
}

TEST(ShardIndex, DropsTheOpenGroupOfATruncatedShard) {
  const TempFolder folder;
  const std::string whole = tar_of({{"a.jpg", "x"}, {"a.txt", "t"}, {"b.jpg", "x"}});
  const ShardIndex index = index_of(folder, whole.substr(0, whole.size() - 1024));
  EXPECT_EQ(index.header.verdict, ShardVerdict::truncated_tar);
  EXPECT_EQ(index.header.samples, 1U);
  EXPECT_EQ(index.header.end_offset, 3072U);
  EXPECT_EQ(index_of(folder, "<html>not found</html>").header.verdict, ShardVerdict::truncated_tar);
  EXPECT_EQ(index_of(folder, std::string(600, '<')).header.verdict, ShardVerdict::bad_header);
}

TEST(ShardIndex, SidecarIsReusedUntilTheShardChanges) {
  const TempFolder folder;
  folder.write("s.tar", tar_of(samples_of("k", 3)));
  const IndexSettings settings;
  const IndexedShard first(folder / "s.tar", settings, "", std::make_shared<ShardAccess>(), true);
  const std::string sidecar = read_file(folder / "s.tar.idx");
  EXPECT_EQ(sidecar.size(), kIndexHeaderBytes + 3 * 48);
  const IndexedShard second(folder / "s.tar", settings, "", std::make_shared<ShardAccess>(), true);
  std::vector<IndexRecord> records;
  second.read(1, 2, records);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].ordinal, 1U);

  folder.write("s.tar", tar_of(samples_of("k", 4)));
  const IndexedShard third(folder / "s.tar", settings, "", std::make_shared<ShardAccess>(), true);
  EXPECT_EQ(third.header().valid, 4U);
  EXPECT_THROW(first.read(0, 1, records), DataError) << "the index changed under a run";
}

}  // namespace
}  // namespace plumbline
