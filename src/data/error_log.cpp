#include "data/error_log.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::size_t kWindow = 100'000;
constexpr std::size_t kJudgedFrom = 1'000;
constexpr double kWarnRate = 0.002;
constexpr std::int64_t kMaxLines = 10'000;
constexpr std::size_t kLastMessages = 5;

}  // namespace

ErrorLog::ErrorLog(const ErrorBudget& budget, std::vector<std::string> sources,
                   const std::string& quarantine_path, std::function<void(const std::string&)> warn)
    : budget_(budget), names_(std::move(sources)), sources_(names_.size()), warn_(std::move(warn)) {
  if (quarantine_path.empty()) return;
  file_.reset(std::fopen(quarantine_path.c_str(), "ae"));
  if (!file_) throw Error(str("cannot open ", quarantine_path, ": ", std::strerror(errno)));
}

void ErrorLog::quarantine(const Refusal& refusal, const std::string& substitute) {
  if (!file_ || lines_++ >= kMaxLines) return;
  const nlohmann::ordered_json line = {{"source", names_[static_cast<std::size_t>(refusal.source)]},
                                       {"shard", refusal.shard},
                                       {"key", refusal.key},
                                       {"offset", refusal.offset},
                                       {"class", name_of(refusal.bad.reason)},
                                       {"message", refusal.bad.message},
                                       {"substitute", substitute}};
  // Keys and messages may hold bytes that are not UTF-8.
  const std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::fprintf(file_.get(), "%s\n", text.c_str());
  std::fflush(file_.get());
}

std::string ErrorLog::summary(int source) const {
  const PerSource& s = sources_[static_cast<std::size_t>(source)];
  std::string text;
  for (std::size_t c = 0; c < s.by_class.size(); ++c) {
    if (s.by_class[c] == 0) continue;
    text +=
        str(text.empty() ? "" : ", ", s.by_class[c], " ", name_of(static_cast<BadSampleClass>(c)));
  }
  for (const std::string& message : s.last) text.append("; ").append(message);
  return text;
}

void ErrorLog::count(int source, bool bad) {
  PerSource& s = sources_[static_cast<std::size_t>(source)];
  s.window.push_back(bad);
  s.bad_in_window += bad ? 1 : 0;
  s.consecutive = bad ? s.consecutive + 1 : 0;
  if (s.window.size() > kWindow) {
    s.bad_in_window -= s.window.front() ? 1 : 0;
    s.window.pop_front();
  }
  judge(source);
}

void ErrorLog::judge(int source) {
  PerSource& s = sources_[static_cast<std::size_t>(source)];
  const std::string& name = names_[static_cast<std::size_t>(source)];
  if (s.consecutive >= budget_.max_consecutive) {
    throw DataError(str("source ", name, ": ", s.consecutive,
                        " bad samples in a row (data.errors.max_consecutive ",
                        budget_.max_consecutive, "): ", summary(source)));
  }
  if (s.window.size() < kJudgedFrom) return;
  const double rate = static_cast<double>(s.bad_in_window) / static_cast<double>(s.window.size());
  if (rate > budget_.max_rate) {
    throw DataError(str("source ", name, ": ", s.bad_in_window, " of the last ", s.window.size(),
                        " samples are bad (data.errors.max_rate ", budget_.max_rate,
                        "): ", summary(source)));
  }
  if (rate > kWarnRate && !s.warned && warn_) {
    s.warned = true;
    warn_(str("source ", name, ": ", s.bad_in_window, " of the last ", s.window.size(),
              " samples are bad: ", summary(source)));
  }
}

void ErrorLog::row(int source, const std::vector<Refusal>& refused, const std::string& substitute) {
  PerSource& s = sources_[static_cast<std::size_t>(source)];
  for (const Refusal& refusal : refused) {
    ++s.total_bad;
    ++s.by_class[static_cast<std::size_t>(refusal.bad.reason)];
    s.last.push_back(str(refusal.shard, " at byte ", refusal.offset, ", key ", refusal.key, ": ",
                         name_of(refusal.bad.reason), ": ", refusal.bad.message));
    if (s.last.size() > kLastMessages) s.last.pop_front();
    quarantine(refusal, substitute);
    if (refusal.bad.reason == BadSampleClass::io && s.unread.insert(refusal.shard).second &&
        warn_) {
      warn_(str("source ", names_[static_cast<std::size_t>(source)], ": ", refusal.bad.message,
                "; its samples are replaced by others"));
    }
    count(source, true);
  }
  count(source, false);
}

}  // namespace plumbline
