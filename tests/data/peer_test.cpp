// The peer's shards, written by Python's webdataset and by its tarfile in every format: our reader
// finds the samples, keys, suffixes and bytes that webdataset finds.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "core/file.h"
#include "data/sample_copy.h"
#include "plumbline/error.h"
#include "tests/data/fixture.h"

namespace plumbline {
namespace {

/// SHARD, KEY, SUFFIX, SHA-256 of every member of every usable sample, tab-separated.
std::multiset<std::string> members_in(const TempFolder& folder, const std::string& shard) {
  ToolInput input;
  input.source.name = "shards";
  input.source.shards = {folder / shard};
  const auto sources = open_input(input);
  std::multiset<std::string> lines;
  std::vector<SampleRef> refs;
  sources[0]->find(0, sources[0]->size(), refs);
  for (const SampleRef& ref : refs) {
    LoadedSample sample;
    load_sample(*sources[0], ref, sample);
    EXPECT_EQ(sources[0]->key(ref), sample.parts.key);
    for (const GroupMember& member : sample.parts.group.members) {
      const std::string_view content(
          reinterpret_cast<const char*>(sample.bytes.data()) + member.offset, member.size);
      lines.insert(
          str(shard, "\t", sample.parts.key, "\t", member.suffix, "\t", sha256_hex(content)));
    }
  }
  return lines;
}

TEST(Peer, WebdatasetAndTarfileShardsReadEqual) {
  const TempFolder folder;
  const std::string root = PLUMBLINE_SOURCE_DIR;
  const std::string list = folder / "list.txt";
  const int status = std::system(str(root, "/.venv/bin/python ", root,
                                     "/tests/data/peer_shards.py ", folder.path(), " > ", list)
                                     .c_str());
  if (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127) {
    GTEST_SKIP() << "webdataset is not there (launch/setup.sh installs it)";
  }
  ASSERT_EQ(status, 0);
  std::map<std::string, std::multiset<std::string>> expected;
  std::ifstream file(list);
  for (std::string line; std::getline(file, line);) {
    expected[line.substr(0, line.find('\t'))].insert(line);
  }
  ASSERT_EQ(expected.size(), 5U);
  for (const auto& [shard, lines] : expected) {
    ASSERT_EQ(lines.size(), 48U) << shard;
    EXPECT_EQ(members_in(folder, shard), lines) << shard;
  }
}

}  // namespace
}  // namespace plumbline
