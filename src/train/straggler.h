// Which rank is slow, and why. In a synchronous run every rank's step takes equally long; the slow
// one is the one that waits for nobody.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plumbline/communicator.h"

namespace plumbline {

/// Where a rank's time went over `steps` steps, in seconds.
struct RankTimes {
  double steps = 0;
  double step_s = 0;
  double data_wait_s = 0;  ///< for its own loader
  double comm_wait_s = 0;  ///< in collectives: for others and for the network
  /// All the rest: upload, towers, loss, optimizer.
  [[nodiscard]] double busy_s() const { return step_s - data_wait_s - comm_wait_s; }
  /// What others wait for.
  [[nodiscard]] double own_s() const { return step_s - comm_wait_s; }
};

/// A rank that was more than a fifth slower than the median in five windows running.
struct Straggler {
  int rank = 0;
  std::string cause;  ///< data | compute
  double own_ms = 0, median_ms = 0;
};

class StragglerTable {
 public:
  explicit StragglerTable(Communicator& host) : host_(host) {}

  /// A step of this rank.
  void add(double step_s, double data_wait_s, double comm_wait_s);
  /// Collective: closes a window and returns every rank's times in it, the same on all ranks. A
  /// window without steps gives an empty table.
  [[nodiscard]] std::vector<RankTimes> close_window();
  /// The one to warn of after the last window, told once until it has recovered; the worst where
  /// there are several.
  [[nodiscard]] const std::optional<Straggler>& straggler() const { return straggler_; }
  /// Since the start of the process; the same on all ranks.
  [[nodiscard]] const std::vector<RankTimes>& total() const { return total_; }

  static constexpr double kSlow = 1.2;
  static constexpr int kWindows = 5;

 private:
  void look_for_stragglers(const std::vector<RankTimes>& window);

  Communicator& host_;
  RankTimes mine_;
  std::vector<RankTimes> total_;
  std::vector<int> slow_windows_;  ///< in a row, by rank
  std::optional<Straggler> straggler_;
};

/// Mean, least and most over the ranks of a window.
struct RankSpread {
  double data_wait_frac = 0, data_wait_frac_max = 0;
  double comm_wait_frac = 0;
  double comm_wait_ms = 0;  ///< a step, mean
  double busy_ms_min = 0, busy_ms_max = 0;
  int slowest_rank = 0;
};
[[nodiscard]] RankSpread spread_of(const std::vector<RankTimes>& ranks);

/// JSON list of the ranks, slowest first, at most `most`: rank, step_ms, busy_ms, data_wait_ms,
/// comm_wait_ms.
[[nodiscard]] std::string rank_table_json(const std::vector<RankTimes>& ranks, std::size_t most);

}  // namespace plumbline
