// What a loader's threads did, in words and numbers.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/pipeline.h"
#include "plumbline/data.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNoWait = 0.01;
constexpr double kBusy = 0.9;
constexpr double kHalf = 0.5;

int percent(double share) { return static_cast<int>(std::lround(100 * share)); }

/// Share of the threads' time.
double share(double seconds, const StageTimes& stage, double elapsed_s) {
  if (!(elapsed_s > 0) || stage.threads == 0) return 0;
  return std::clamp(seconds / (stage.threads * elapsed_s), 0.0, 1.0);
}

/// Share of the time in which decoders had nothing to decode although batches were wanted.
double starved(const LoaderStats& stats, double elapsed_s) {
  return share(stats.build.input_s, stats.build, elapsed_s) -
         share(stats.plan.input_s, stats.plan, elapsed_s);
}

std::string largest_part(const LoaderStats& stats) {
  const double largest = std::max({stats.text_s, stats.decode_s, stats.resize_s});
  return largest == stats.decode_s   ? "image decoding"
         : largest == stats.resize_s ? "resizing"
                                     : "tokenizing";
}

/// The source that the readers spent most time on, with its rate while they did.
std::string slowest_source(const LoaderStats& stats) {
  const auto slowest = std::max_element(
      stats.sources.begin(), stats.sources.end(),
      [](const SourceCounts& a, const SourceCounts& b) { return a.read_s < b.read_s; });
  if (slowest == stats.sources.end()) return "the shards";
  const double mb = static_cast<double>(slowest->bytes) / 1e6;
  return str(slowest->name, " (", slowest->read_s > 0 ? std::lround(mb / slowest->read_s) : 0,
             " MB/s a reader)");
}

std::string cores(double more) {
  const auto n = std::max(1L, static_cast<long>(std::ceil(more)));
  return str(n, n == 1 ? " more core" : " more cores", " would feed it");
}

Json stage_json(const StageTimes& stage) {
  return {{"threads", stage.threads},
          {"busy_s", stage.busy_s},
          {"wait_input_s", stage.input_s},
          {"wait_output_s", stage.output_s},
          {"wait_memory_s", stage.memory_s}};
}

template <typename Counts>
Json class_json(const Counts& counts) {
  Json classes = Json::object();
  for (std::size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] > 0) classes[std::string(name_of(static_cast<BadSampleClass>(c)))] = counts[c];
  }
  return classes;
}

void add(const ThreadNote& note, StageTimes& stage) {
  ++stage.threads;
  stage.busy_s += note.seconds(Doing::working);
  stage.input_s += note.seconds(Doing::input);
  stage.output_s += note.seconds(Doing::output);
  stage.memory_s += note.seconds(Doing::memory);
}

}  // namespace

std::string loader_verdict(const LoaderStats& stats, double trainer_s) {
  const double wait = trainer_s > 0 ? std::min(1.0, stats.consumer_wait_s / trainer_s) : 0;
  // While a run evaluates, its loader has nothing to do.
  const double elapsed = trainer_s > 0 ? std::min(trainer_s, stats.elapsed_s) : stats.elapsed_s;
  const double build = share(stats.build.busy_s, stats.build, elapsed);
  if (wait < kNoWait) {
    std::string text = str("bound by: training; the loader was ", percent(build), " % busy");
    if (build > 0.01 && build < kBusy) {
      text += str(" and could deliver ", std::floor(10 / build) / 10, " times as much");
    }
    return text;
  }
  const std::string waited = str("; the trainer waited ", percent(wait), " % of the time; ");
  if (build > kBusy) {
    const double more = stats.build.threads * wait / std::max(1 - wait, 0.01);
    return str("bound by: ", largest_part(stats), " on this host, ", percent(build), " % busy",
               waited, cores(more));
  }
  if (const double memory = share(stats.plan.memory_s, stats.plan, elapsed); memory > kHalf) {
    return str("bound by: memory, readers waited for bytes ", percent(memory), " % of the time",
               waited, "a larger data.memory_mb would feed it");
  }
  if (starved(stats, elapsed) > kHalf) {
    return str("bound by: reading ", slowest_source(stats), waited,
               "faster disks or data.cache would feed it");
  }
  return str("bound by: no single stage: ", largest_part(stats), " ", percent(build),
             " % busy, reading ", percent(share(stats.read.busy_s, stats.read, elapsed)), " %",
             waited, "cores that training takes from the loader count too");
}

std::string loader_report(const LoaderStats& stats) {
  Json sources = Json::array();
  for (const SourceCounts& s : stats.sources) {
    sources.push_back({{"name", s.name},
                       {"delivered", s.delivered},
                       {"bytes", s.bytes},
                       {"substitutes", s.substitutes},
                       {"retries", s.retries},
                       {"read_s", s.read_s},
                       {"bad", class_json(s.bad)},
                       {"excluded", class_json(s.excluded)}});
  }
  const Json report = {{"elapsed_s", stats.elapsed_s},
                       {"trainer_wait_s", stats.consumer_wait_s},
                       {"plan", stage_json(stats.plan)},
                       {"read", stage_json(stats.read)},
                       {"build", stage_json(stats.build)},
                       {"text_s", stats.text_s},
                       {"decode_s", stats.decode_s},
                       {"resize_s", stats.resize_s},
                       {"truncated_captions", stats.truncated_captions},
                       {"sources", sources}};
  return report.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void Pipeline::add_times(LoaderStats& stats) const {
  add(plan_note_, stats.plan);
  for (const ThreadNote& note : read_notes_) add(note, stats.read);
  for (const ThreadNote& note : build_notes_) {
    add(note, stats.build);
    stats.text_s += note.seconds(BuildPart::text);
    stats.decode_s += note.seconds(BuildPart::decode);
    stats.resize_s += note.seconds(BuildPart::resize);
  }
  for (std::size_t i = 0; i < stats.sources.size(); ++i) {
    stats.sources[i].read_s = 1e-9 * static_cast<double>(source_read_ns_[i]);
  }
}

std::string Pipeline::activity() const {
  struct Line {
    double seconds;
    std::string text;
  };
  std::vector<Line> lines;
  const auto look = [&](const ThreadNote& note, const char* work) {
    if (note.what() == Doing::input || note.what() == Doing::output) return;
    std::string text = note.what() == Doing::memory ? "waiting for data.memory_mb" : work;
    if (const int s = note.source(); s >= 0) {
      const Source& source = *sources_[static_cast<std::size_t>(s)];
      const SampleRef ref = note.ref();
      text += str(" shard ", source.shard(ref), " of source ", source.name(), " at byte ",
                  ref.record.offset);
    }
    lines.push_back({note.lasting_s(), std::move(text)});
  };
  look(plan_note_, "planning");
  for (const ThreadNote& note : read_notes_) look(note, "reading");
  for (const ThreadNote& note : build_notes_) look(note, "decoding");
  if (lines.empty()) return "every thread of the loader waits for another";
  const auto longest =
      std::max_element(lines.begin(), lines.end(),
                       [](const Line& a, const Line& b) { return a.seconds < b.seconds; });
  return str(longest->text, " for ", std::floor(10 * longest->seconds) / 10, " s (", lines.size(),
             " of ", 1 + read_notes_.size() + build_notes_.size(), " threads are at work)");
}

}  // namespace plumbline
