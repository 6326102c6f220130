#include "data/check.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/file.h"
#include "data/captions.h"
#include "data/parallel.h"
#include "data/shard_list.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMessages = 20;

void add_header(const std::string& path, const IndexHeader& header, IndexReport& report) {
  ++report.shards;
  report.members += static_cast<std::int64_t>(header.members);
  report.samples += static_cast<std::int64_t>(header.samples);
  report.usable += static_cast<std::int64_t>(header.valid);
  report.split_keys += static_cast<std::int64_t>(header.split_keys);
  for (std::size_t c = 0; c < report.by_class.size(); ++c) {
    report.by_class[c] += static_cast<std::int64_t>(header.by_class[c]);
  }
  if (header.verdict == ShardVerdict::clean && header.trailing_bytes == 0) return;
  BadSampleClass reason = BadSampleClass::bad_header;
  if (header.verdict == ShardVerdict::truncated_tar) reason = BadSampleClass::truncated_tar;
  const bool trailing = header.verdict == ShardVerdict::clean;
  if (!trailing) ++report.by_class[static_cast<std::size_t>(reason)];
  report.damaged.push_back(str(path, " at byte ", header.end_offset, ": ",
                               trailing ? "bytes after the end" : name_of(reason)));
}

/// Samples by shard file name, as webdataset's sizes.json or img2dataset's _stats.json tell them.
std::optional<std::int64_t> announced_samples(const std::string& shard) {
  const fs::path path(shard);
  const fs::path stats = path.parent_path() / (path.stem().string() + "_stats.json");
  const fs::path sizes = path.parent_path() / "sizes.json";
  const auto parse = [](const fs::path& file) {
    return nlohmann::json::parse(read_file(file.string()), nullptr, false);
  };
  if (fs::exists(stats)) {
    const auto value = parse(stats);
    if (value.is_object() && value.contains("successes")) return value["successes"];
  }
  if (fs::exists(sizes)) {
    const auto value = parse(sizes);
    const std::string name = path.filename().string();
    if (value.is_object() && value.contains(name)) return value[name];
  }
  return std::nullopt;
}

/// Looks at the samples of one shard; one a thread.
class ShardCheck {
 public:
  ShardCheck(const CheckOptions& options, const ShardAccess& access, CheckReport& report)
      : options_(options),
        access_(access),
        report_(report),
        chooser_(options.source.captions, options.source.name),
        decoder_(options.limits) {}

  void run(const std::string& path, const IndexSettings& settings) {
    const auto raw = open_raw(path, access_);
    ShardIndex index = build_index(path, settings, access_, raw);
    const auto file = open_plain(raw, access_, index.header.sparse != 0);
    for (IndexRecord& record : index.records) {
      if (record.bad != 0) {
        note(path, record, {static_cast<BadSampleClass>(record.bad - 1), "by the headers"});
        continue;
      }
      bytes_.resize(record.bytes);
      bytes_.resize(file->read_at(record.offset, bytes_));
      if (const auto bad = problem_of(path, record)) {
        record.bad = static_cast<std::uint16_t>(1 + static_cast<int>(bad->reason));
        note(path, record, *bad);
      }
    }
    finish_index(index);
    add_header(path, index.header, report_);
    const std::optional<std::int64_t> announced = announced_samples(path);
    if (announced && *announced != static_cast<std::int64_t>(index.header.samples)) {
      report_.size_mismatches.push_back(
          str(path, ": ", index.header.samples, " samples, announced were ", *announced));
    }
    if (options_.update) write_index(index_path(path, settings, options_.index_dir), index);
  }

 private:
  void note(const std::string& path, const IndexRecord& record, const BadSample& bad) {
    if (report_.messages.size() >= kMessages) return;
    report_.messages.push_back(str(path, " at byte ", record.offset,
                                   key_.empty() ? "" : ", key " + key_, ": ", name_of(bad.reason),
                                   ": ", bad.message));
    key_.clear();
  }

  std::optional<BadSample> problem_of(const std::string& path, IndexRecord& record) {
    const SampleGroup group = parse_group(bytes_, path);
    key_ = group.key;
    const std::span<const std::uint8_t> all(bytes_);
    const GroupMember* member = group.find(options_.source.image_keys);
    if (auto bad = image_problem(all.subspan(member->offset, member->size), record)) return bad;
    if (options_.source.captions.none) return std::nullopt;
    const auto chosen = chooser_.choose(
        [&](std::string_view suffix) -> std::optional<std::string_view> {
          const GroupMember* text = group.find(suffix);
          if (!text) return std::nullopt;
          return std::string_view(reinterpret_cast<const char*>(all.data()) + text->offset,
                                  text->size);
        },
        0, record.ordinal);
    if (const auto* bad = std::get_if<BadSample>(&chosen)) return *bad;
    key_.clear();
    return std::nullopt;
  }

  std::optional<BadSample> image_problem(std::span<const std::uint8_t> image, IndexRecord& record) {
    const auto probed = probe_image(image, options_.limits);
    if (const auto* bad = std::get_if<BadSample>(&probed)) return *bad;
    const auto& info = std::get<ImageInfo>(probed);
    (info.format == ImageFormat::jpeg  ? report_.jpeg
     : info.format == ImageFormat::png ? report_.png
                                       : report_.webp) += 1;
    report_.image_bytes += std::ssize(image);
    report_.pixels += std::int64_t{info.width} * info.height;
    record.width = static_cast<std::uint16_t>(info.width);
    record.height = static_cast<std::uint16_t>(info.height);
    return options_.decode ? decoder_.decode(image, pixels_) : std::nullopt;
  }

  const CheckOptions& options_;
  const ShardAccess& access_;
  CheckReport& report_;
  CaptionChooser chooser_;
  ImageDecoder decoder_;
  Image pixels_;
  std::vector<std::uint8_t> bytes_;
  std::string key_;
};

template <typename T>
void append(const std::vector<T>& from, std::vector<T>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

void add_report(const CheckReport& part, CheckReport& sum) {
  sum.shards += part.shards;
  sum.members += part.members;
  sum.samples += part.samples;
  sum.usable += part.usable;
  sum.split_keys += part.split_keys;
  sum.jpeg += part.jpeg;
  sum.png += part.png;
  sum.webp += part.webp;
  sum.image_bytes += part.image_bytes;
  sum.pixels += part.pixels;
  for (std::size_t c = 0; c < sum.by_class.size(); ++c) sum.by_class[c] += part.by_class[c];
  append(part.damaged, sum.damaged);
  append(part.size_mismatches, sum.size_mismatches);
  append(part.messages, sum.messages);
  if (sum.messages.size() > kMessages) sum.messages.resize(kMessages);
}

DataOptions data_options(const IndexOptions& options) {
  DataOptions data;
  data.sources = {options.source};
  data.index_dir = options.index_dir;
  data.allow_pipe = options.allow_pipe;
  return data;
}

void require_index_dir(const IndexOptions& options, const std::vector<std::string>& paths) {
  const bool remote = std::any_of(paths.begin(), paths.end(), is_pipe);
  if (remote && options.index_dir.empty()) {
    throw UsageError("the indexes of pipe: shards need a folder: --index-dir");
  }
}

int threads_or_all(int threads) { return threads > 0 ? threads : available_threads(); }

}  // namespace

bool CheckReport::clean() const {
  return damaged.empty() && size_mismatches.empty() &&
         std::all_of(by_class.begin(), by_class.end(), [](std::int64_t n) { return n == 0; });
}

IndexReport index_shards(const IndexOptions& options, const Progress& progress) {
  const SourceOptions& source = options.source;
  const auto paths = list_shards(source.shards, source.missing, source.name, options.allow_pipe);
  require_index_dir(options, paths);
  const IndexSettings settings = index_settings(source);
  const auto access = std::make_shared<const ShardAccess>(data_options(options));
  std::vector<std::optional<IndexedShard>> shards(paths.size());
  std::mutex mutex;
  std::int64_t done = 0;
  parallel_for(std::ssize(paths), threads_or_all(options.threads), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    shards[at].emplace(paths[at], settings, options.index_dir, access, true);
    const std::lock_guard lock(mutex);
    if (progress) progress(++done, std::ssize(paths));
  });
  IndexReport report;
  for (const auto& shard : shards) {
    if (shard->unwritten()) {
      throw Error(str("cannot write index ", index_path(shard->path(), settings, options.index_dir),
                      "; --index-dir names another folder"));
    }
    add_header(shard->path(), shard->header(), report);
  }
  return report;
}

CheckReport check_shards(const CheckOptions& options, const Progress& progress) {
  const SourceOptions& source = options.source;
  const auto paths = list_shards(source.shards, source.missing, source.name, options.allow_pipe);
  if (options.update) require_index_dir(options, paths);
  const IndexSettings settings = index_settings(source);
  const ShardAccess access(data_options(options));
  std::vector<CheckReport> parts(paths.size());
  std::mutex mutex;
  std::int64_t done = 0;
  parallel_for(std::ssize(paths), threads_or_all(options.threads), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    ShardCheck(options, access, parts[at]).run(paths[at], settings);
    const std::lock_guard lock(mutex);
    if (progress) progress(++done, std::ssize(paths));
  });
  CheckReport report;
  for (const CheckReport& part : parts) add_report(part, report);
  return report;
}

}  // namespace plumbline
