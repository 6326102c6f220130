// Which sample stands at which row of which step: a pure function of (seed, data, position).
// Threads, ranks and retries never enter it.
//
// A global batch of B rows is cut into C lanes (C | B). Position g belongs to lane g mod C, row
// g div C of it. The N samples of a source are cut into virtual shards of S neighbours; lane c
// reads those numbered c, c + C, c + 2C, ... of an endless sequence that permutes them anew each
// epoch, and the samples inside each are permuted too. Nothing needs saving but the position.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plumbline {

struct PlanSource {
  std::string name;
  std::uint64_t samples = 0;
  double weight = 1.0;
};

struct PlanOptions {
  std::uint64_t seed = 0;
  std::int64_t global_batch = 0;
  int world = 1;
  int lanes = 0;  ///< 0: the largest divisor of the batch <= 512 that world divides
  int vshard = 256;
  bool replace = false;  ///< `sampling: replace`
  std::string weights = "proportion";
  bool allow_repeats = false;
};

/// A run of neighbouring samples of a source, as one lane reads it.
struct Vshard {
  std::uint64_t index = 0;
  std::uint64_t first = 0;  ///< ordinal of its first sample in the source
  std::uint64_t size = 0;
  std::uint64_t key = 0;  ///< of its inner permutation
};

/// One row of the plan.
struct Place {
  int source = 0;
  std::uint64_t ordinal = 0;
  Vshard vshard;
  std::uint64_t turn = 0;  ///< how many vshards the lane read of this source before this one
};

class OrderPlan {
 public:
  /// Throws UsageError when lanes, batch, world, weights or sample counts do not fit together.
  OrderPlan(const PlanOptions& options, std::vector<PlanSource> sources);

  [[nodiscard]] int lanes() const { return lanes_; }
  [[nodiscard]] std::uint64_t seed() const { return options_.seed; }
  [[nodiscard]] std::int64_t rows_per_lane() const { return options_.global_batch / lanes_; }
  [[nodiscard]] std::size_t source_count() const { return sources_.size(); }
  /// Rows of an epoch over all sources.
  [[nodiscard]] std::int64_t epoch_rows() const { return epoch_rows_; }
  /// Rows of each source in a period of the mixture, and the period.
  [[nodiscard]] const std::vector<std::uint64_t>& quotas() const { return quotas_; }
  [[nodiscard]] std::uint64_t period() const { return period_; }
  /// Virtual shards of a source, and samples in all but the last of them.
  [[nodiscard]] std::uint64_t vshard_count(int source) const;
  [[nodiscard]] std::uint64_t vshard_size(int source) const;

  /// The `turn`-th virtual shard that `lane` reads of `source`.
  [[nodiscard]] Vshard vshard_at(int source, int lane, std::uint64_t turn) const;

  /// What `lane` reads instead of `place` when its virtual shard cannot be read: the same row of
  /// another one, drawn by the number of the unreadable one and `attempt`. A virtual shard is so
  /// replaced row by row, whichever of its rows was the first to fail.
  [[nodiscard]] Place instead_of(const Place& place, int lane, std::uint64_t attempt) const;

 private:
  friend class LaneCursor;
  struct Shape {
    PlanSource source;
    std::uint64_t key = 0;
    std::uint64_t vshard_size = 0;
    std::uint64_t vshards = 0;
  };
  struct Spot {
    std::uint64_t turn = 0, row = 0;
  };
  void choose_lanes();
  void cut_into_vshards(Shape& shape) const;
  void weigh();
  void check_enough(const std::vector<double>& shares) const;
  [[nodiscard]] Vshard vshard_of(const Shape& shape, std::uint64_t epoch_key,
                                 std::uint64_t index) const;
  [[nodiscard]] Spot locate(int source, int lane, std::uint64_t n) const;
  [[nodiscard]] int source_of_slot(std::uint64_t slot) const;
  [[nodiscard]] std::uint64_t period_key(int lane, std::uint64_t period) const;

  PlanOptions options_;
  std::vector<Shape> sources_;
  std::vector<std::uint64_t> quotas_;
  std::uint64_t period_ = 1000;
  int lanes_ = 0;
  std::int64_t epoch_rows_ = 0;
};

/// The rows of one lane in order, from any row on.
class LaneCursor {
 public:
  /// `plan` must outlive the cursor.
  LaneCursor(const OrderPlan& plan, int lane, std::uint64_t first_row);
  [[nodiscard]] Place next();

 private:
  struct Reading {
    std::uint64_t turn = 0, row = 0;
    Vshard vshard;
  };
  [[nodiscard]] int next_source();

  const OrderPlan* plan_;
  int lane_;
  std::uint64_t row_;
  std::uint64_t period_key_ = 0;
  std::vector<Reading> reading_;
};

/// The key k_i of a source: derive(seed, source, first 8 bytes of SHA-256(name), little-endian).
[[nodiscard]] std::uint64_t source_key(std::uint64_t seed, const std::string& name);

/// `total` in parts proportional to `shares`, exact in sum: floors first, then one more to those
/// with the largest remainders (the earlier one at a tie).
[[nodiscard]] std::vector<std::uint64_t> largest_remainder(const std::vector<double>& shares,
                                                           std::uint64_t total);

}  // namespace plumbline
