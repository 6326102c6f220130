#include "data/subset.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "core/file.h"
#include "data/captions.h"
#include "data/order_plan.h"
#include "data/parallel.h"
#include "data/sample_copy.h"
#include "data/siphash.h"
#include "data/source.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::uint64_t kFindAtOnce = 4096;
constexpr double kMaxRepeats = 0.001;

/// A sample that may be taken, by its place in the order of the hash.
struct Candidate {
  std::uint64_t hash;
  std::uint32_t source;
  std::uint64_t ordinal;
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return std::tie(a.hash, a.source, a.ordinal) < std::tie(b.hash, b.source, b.ordinal);
  }
};

constexpr std::string_view kJson = "json:";

/// Whether the identity stands in the sample, not in its name.
bool needs_bytes(const std::string& identity) {
  return identity == "sha256" || identity.starts_with(kJson);
}

std::string name_identity(const Source& source, const SampleRef& ref, const std::string& identity) {
  if (identity == "key") return source.key(ref);
  return std::filesystem::path(source.shard(ref)).filename().string() + "\n" + source.key(ref);
}

struct Condition {
  std::string field, value;
};

std::vector<Condition> conditions_of(const std::vector<std::string>& where) {
  std::vector<Condition> conditions;
  for (const std::string& text : where) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError(str("--where '", text, "' is not FIELD=VALUE"));
    }
    conditions.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  return conditions;
}

std::optional<std::string> json_field(const LoadedSample& sample, const std::string& field) {
  const GroupMember* member = sample.parts.group.find("json");
  if (sample.bad || !member) return std::nullopt;
  const std::string_view text(reinterpret_cast<const char*>(sample.bytes.data()) + member->offset,
                              member->size);
  return json_scalar(text, field);
}

bool holds(const LoadedSample& sample, const std::vector<Condition>& conditions) {
  return std::all_of(conditions.begin(), conditions.end(),
                     [&](const Condition& c) { return json_field(sample, c.field) == c.value; });
}

/// What is hashed of a sample that was read.
std::string content_identity(const Source& source, const LoadedSample& sample,
                             const std::string& identity) {
  if (identity == "sha256") {
    const std::span<const std::uint8_t> image = sample.parts.image;
    return sha256_hex({reinterpret_cast<const char*>(image.data()), image.size()});
  }
  const auto value = json_field(sample, identity.substr(kJson.size()));
  if (value) return *value;
  throw UsageError(str("shard ", source.shard(sample.ref), " at byte ", sample.ref.record.offset,
                       ": no string or integer '", identity.substr(kJson.size()),
                       "' in the json member, which --identity asks of every sample"));
}

/// The hash of a sample, or nothing when it must not be taken.
std::optional<std::uint64_t> judge(const Source& source, const SampleRef& ref,
                                   const SubsetOptions& options,
                                   const std::vector<Condition>& conditions, LoadedSample& sample) {
  const bool bytes = needs_bytes(options.identity);
  if (bytes || !conditions.empty()) load_sample(source, ref, sample);
  if (!conditions.empty() && !holds(sample, conditions)) return std::nullopt;
  return siphash(bytes ? content_identity(source, sample, options.identity)
                       : name_identity(source, ref, options.identity),
                 options.seed);
}

/// All samples of a source with their hashes: reads every key, for some options every sample.
std::vector<Candidate> hash_source(const Source& source, std::uint32_t number,
                                   const SubsetOptions& options, int threads) {
  const std::vector<Condition> conditions = conditions_of(options.where);
  std::vector<std::optional<Candidate>> judged(source.size());
  const std::uint64_t n = source.size();
  const auto pieces = static_cast<std::int64_t>((n + kFindAtOnce - 1) / kFindAtOnce);
  parallel_for(pieces, threads, [&](std::int64_t piece) {
    const std::uint64_t first = static_cast<std::uint64_t>(piece) * kFindAtOnce;
    std::vector<SampleRef> refs;
    source.find(first, std::min(kFindAtOnce, n - first), refs);
    LoadedSample sample;
    for (std::size_t i = 0; i < refs.size(); ++i) {
      const auto hash = judge(source, refs[i], options, conditions, sample);
      if (hash) judged[first + i] = {*hash, number, first + i};
    }
  });
  std::vector<Candidate> all;
  for (const auto& candidate : judged) {
    if (candidate) all.push_back(*candidate);
  }
  return all;
}

void check_repeats(const std::vector<Candidate>& sorted, const std::string& name,
                   const std::string& identity) {
  std::size_t repeats = 0;
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    repeats += sorted[i].hash == sorted[i - 1].hash ? 1 : 0;
  }
  if (static_cast<double>(repeats) > kMaxRepeats * static_cast<double>(sorted.size())) {
    throw UsageError(str("source ", name, ": ", repeats, " of ", sorted.size(),
                         " samples repeat a ", identity, ", so the hash cannot choose among them",
                         identity == "key" ? "; try --identity shard+key" : ""));
  }
}

std::vector<std::uint64_t> shares_of(const SubsetOptions& options) {
  std::vector<double> weights;
  for (const SourceOptions& source : options.sources) {
    if (!(source.weight > 0)) {
      throw UsageError(str("source ", source.name, ": weight ", source.weight, " is not positive"));
    }
    weights.push_back(source.weight);
  }
  return largest_remainder(weights, static_cast<std::uint64_t>(options.samples));
}

std::string provenance_of(const SubsetOptions& options,
                          const std::vector<std::unique_ptr<Source>>& sources) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    list.push_back({{"name", sources[i]->name()},
                    {"weight", options.sources[i].weight},
                    {"samples", sources[i]->size()},
                    {"fingerprint", sources[i]->fingerprint()}});
  }
  nlohmann::ordered_json object = {{"command", sources.size() == 1 ? "data subset" : "data mix"},
                                   {"samples", options.samples},
                                   {"seed", options.seed},
                                   {"identity", options.identity},
                                   {"samples_per_shard", options.samples_per_shard},
                                   {"sources", list}};
  if (!options.where.empty()) object["where"] = options.where;
  return object.dump();
}

void check(const SubsetOptions& options) {
  if (options.sources.empty()) throw UsageError("no shards to choose from");
  if (options.samples < 1) throw UsageError(str("samples: ", options.samples, " is below 1"));
  if (options.identity != "key" && options.identity != "shard+key" &&
      options.identity != "sha256" &&
      !(options.identity.starts_with(kJson) && options.identity.size() > kJson.size())) {
    throw UsageError(
        str("identity '", options.identity, "' is none of key, shard+key, sha256, json:FIELD"));
  }
  for (const SourceOptions& source : options.sources) {
    if (source.shards.empty()) {
      throw UsageError(str("source ", source.name, " has no shards: no members to copy"));
    }
  }
}

}  // namespace

SubsetReport subset(const SubsetOptions& options, const Progress& progress) {
  check(options);
  const int threads = options.threads > 0 ? options.threads : available_threads();
  DataOptions data;
  data.sources = options.sources;
  data.index_dir = options.index_dir;
  data.allow_pipe = options.allow_pipe;
  const auto sources = open_sources(data, LoaderContext(), threads);
  const std::vector<std::uint64_t> shares = shares_of(options);

  SubsetReport report;
  std::vector<Candidate> chosen;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const std::string& name = sources[i]->name();
    auto all = hash_source(*sources[i], static_cast<std::uint32_t>(i), options, threads);
    if (all.size() < shares[i]) {
      throw UsageError(str("source ", name, ": ", shares[i], " samples wanted, but it has ",
                           all.size(), options.where.empty() ? "" : " that --where allows"));
    }
    std::sort(all.begin(), all.end());
    check_repeats(all, name, options.identity);
    const auto end = all.begin() + static_cast<std::ptrdiff_t>(shares[i]);
    chosen.insert(chosen.end(), all.begin(), end);
    report.taken.push_back(static_cast<std::int64_t>(shares[i]));
    for (const std::int64_t n : sources[i]->excluded()) report.excluded += n;
  }
  std::sort(chosen.begin(), chosen.end());

  const ShardFolder folder{options.out, options.samples, options.samples_per_shard, threads,
                           provenance_of(options, sources)};
  std::vector<ChosenSample> samples;
  for (const Candidate& c : chosen) samples.push_back({c.source, c.ordinal});
  report.written = copy_samples(sources, samples, folder, progress);
  return report;
}

}  // namespace plumbline
