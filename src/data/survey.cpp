#include "data/survey.h"

#include <algorithm>
#include <filesystem>

#include "data/captions.h"
#include "data/remote_shard.h"
#include "data/shard_access.h"
#include "data/shard_index.h"
#include "data/shard_list.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::uint64_t kCaptionsLookedAt = 4096;

double mean_caption_bytes(const IndexedShard& shard) {
  std::vector<IndexRecord> records;
  shard.read(0, std::min(shard.header().valid, kCaptionsLookedAt), records);
  double bytes = 0;
  for (const IndexRecord& record : records) bytes += record.text_bytes;
  return records.empty() ? 0 : bytes / static_cast<double>(records.size());
}

void survey_shards(const SourceOptions& source, const DataOptions& data, SourceSurvey& survey) {
  const std::vector<std::string> paths =
      list_shards(source.shards, source.missing, source.name, data.allow_pipe);
  const auto access = std::make_shared<ShardAccess>(data);
  const IndexSettings settings = index_settings(source);
  const std::string& remote_dir = data.index_dir.empty() ? data.cache.dir : data.index_dir;
  const bool remote = std::any_of(paths.begin(), paths.end(), is_pipe);
  survey.shards = std::ssize(paths);
  for (const std::string& path : paths) {
    const auto shard =
        IndexedShard::find(path, settings, remote ? remote_dir : data.index_dir, access);
    if (!shard) continue;
    if (survey.indexed++ == 0) survey.caption_bytes = mean_caption_bytes(*shard);
    survey.samples += static_cast<std::int64_t>(shard->header().valid);
    survey.bytes += static_cast<std::int64_t>(shard->header().shard_bytes);
  }
}

}  // namespace

std::vector<SourceSurvey> survey_sources(const DataOptions& options) {
  if (options.sources.empty()) throw UsageError("data.sources: no source");
  std::vector<SourceSurvey> all;
  for (const SourceOptions& source : options.sources) {
    SourceSurvey survey;
    survey.name = source.name;
    if (!source.shards.empty()) {
      survey_shards(source, options, survey);
    } else if (!source.manifest.empty()) {
      if (!std::filesystem::is_regular_file(source.manifest)) {
        throw UsageError(
            str("source ", source.name, ": its manifest ", source.manifest, " is no file"));
      }
    } else {
      survey.samples = source.synthetic_samples;
    }
    all.push_back(survey);
  }
  return all;
}

}  // namespace plumbline
