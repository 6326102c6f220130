// Bad samples of a run: counts, the budget, the quarantine file. Fed in row order by the consumer,
// so that what it says and where it stops do not depend on thread timing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "core/file.h"
#include "plumbline/bad_sample.h"
#include "plumbline/data.h"
#include "plumbline/handle.h"

namespace plumbline {

/// One refused sample.
struct Refusal {
  int source = 0;
  std::string shard;
  std::uint64_t offset = 0;
  std::string key;
  BadSample bad;
};

class ErrorLog {
 public:
  /// Appends to `quarantine_path` (empty: no file). Throws Error when it cannot be created.
  ErrorLog(const ErrorBudget& budget, std::vector<std::string> sources,
           const std::string& quarantine_path, std::function<void(const std::string&)> warn);

  /// One row: the samples refused for it, then `substitute`, the key that stands there (empty when
  /// the planned sample was good). Throws DataError with counts and the last five messages when the
  /// budget of the source is spent.
  void row(int source, const std::vector<Refusal>& refused, const std::string& substitute);

  /// Counts and last messages, for errors.
  [[nodiscard]] std::string summary(int source) const;

 private:
  struct PerSource {
    std::deque<bool> window;  ///< the last samples, true = bad
    std::int64_t bad_in_window = 0;
    std::int64_t consecutive = 0;
    std::int64_t total_bad = 0;
    std::array<std::int64_t, kBadSampleClasses> by_class = {};
    std::deque<std::string> last;
    bool warned = false;
    std::set<std::string> unread;  ///< shards that were given up
  };
  void count(int source, bool bad);
  void judge(int source);
  void quarantine(const Refusal& refusal, const std::string& substitute);

  ErrorBudget budget_;
  std::vector<std::string> names_;
  std::vector<PerSource> sources_;
  Handle<FILE, std::fclose> file_;
  std::int64_t lines_ = 0;
  std::function<void(const std::string&)> warn_;
};

}  // namespace plumbline
