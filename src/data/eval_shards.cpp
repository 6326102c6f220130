#include "data/eval_shards.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "data/parallel.h"
#include "data/shard_list.h"
#include "data/utf8.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

std::string_view text_of(std::span<const std::uint8_t> bytes, const GroupMember& member) {
  return {reinterpret_cast<const char*>(bytes.data()) + member.offset, member.size};
}

}  // namespace

EvalShards::EvalShards(const EvalShardOptions& options, int threads)
    : options_(options), first_(1) {
  const auto paths = list_shards(options.shards, "error", options.name);
  IndexSettings settings;
  settings.image_keys = options.image_keys;
  settings.text = false;
  const auto access = std::make_shared<const ShardAccess>(options.spool_dir);
  std::vector<std::optional<IndexedShard>> opened(paths.size());
  parallel_for(std::ssize(paths), threads, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    opened[at].emplace(paths[at], settings, options.spool_dir, access, false);
  });
  for (auto& shard : opened) {
    const IndexHeader& header = shard->header();
    if (header.verdict != ShardVerdict::clean) {
      throw DataError(str("set ", options.name, ": shard ", shard->path(), " is ",
                          header.verdict == ShardVerdict::truncated_tar ? "truncated" : "damaged",
                          " at byte ", header.end_offset));
    }
    first_.push_back(first_.back() + static_cast<std::int64_t>(header.valid));
    skipped_ += static_cast<std::int64_t>(header.samples - header.valid);
    shards_.push_back(*std::move(shard));
  }
}

EvalItem EvalShards::read(std::int64_t i) const {
  require(i >= 0 && i < size(), "evaluation sample out of range");
  const auto after = std::upper_bound(first_.begin(), first_.end(), i);
  const auto s = static_cast<std::size_t>(after - first_.begin() - 1);
  const IndexedShard& shard = shards_[s];
  std::vector<IndexRecord> records;
  shard.read(static_cast<std::uint64_t>(i - first_[s]), 1, records);
  std::vector<std::uint8_t> bytes(records[0].bytes);
  (void)files_.get(static_cast<std::uint32_t>(s), shard)->read_at(records[0].offset, bytes);

  const SampleGroup group = parse_group(bytes, shard.path());
  EvalItem item;
  item.key = group.key;
  const GroupMember* image = group.find(options_.image_keys);
  if (!image) throw DataError(str("shard ", shard.path(), " changed while it was in use"));
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(image->offset);
  item.image.assign(begin, begin + static_cast<std::ptrdiff_t>(image->size));
  if (const GroupMember* text = group.find(options_.text_key)) item.text = text_of(bytes, *text);
  if (const GroupMember* label = group.find(options_.label_key)) {
    const std::string_view digits = strip(text_of(bytes, *label));
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), item.label);
    if (error != std::errc() || end != digits.data() + digits.size() || item.label < 0) {
      throw DataError(str("shard ", shard.path(), " at byte ", records[0].offset, ", key ",
                          item.key, ": .", options_.label_key, " holds '", digits,
                          "', not a class number"));
    }
  }
  return item;
}

std::pair<std::int64_t, std::int64_t> eval_slice(std::int64_t total, int rank, int world) {
  return {total * rank / world, total * (rank + 1) / world};
}

}  // namespace plumbline
