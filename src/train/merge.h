// Checkpoints merged in the space of their weights: interpolation between two (WiSE-FT, Wortsman et
// al. 2022, arXiv:2109.01903) and means of many (model soups, arXiv:2203.05482).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plumbline/eval_suite.h"
#include "train/checkpoint.h"

namespace plumbline {

/// Throws UsageError unless both hold the same tensors (all differing names, shapes and types are
/// listed) and their models compute alike (activation, heads, pooling, image size, ...), which
/// shapes do not show. `where_a` and `where_b` name them.
void check_mergeable(const Checkpoint& a, const std::string& where_a, const Checkpoint& b,
                     const std::string& where_b);

/// theta = (1-alpha) theta0 + alpha theta1 over every floating-point tensor, parameters and
/// buffers, in its own type (float32 as the reference implementation); integers from theta1.
/// alpha 0 and 1 give bitwise copies of the ends. Tensors of the same names and shapes.
[[nodiscard]] NamedTensors interpolate(const NamedTensors& theta0, const NamedTensors& theta1,
                                       double alpha);

/// Mean of models, one in memory at a time. Sums in float64; integers from the last one.
class RunningMean {
 public:
  void add(const NamedTensors& model);
  /// The mean of all that were added, at least one, in their own types; bitwise the model when
  /// there is only one.
  [[nodiscard]] NamedTensors mean() const;
  /// mean() after add(model), which is not kept.
  [[nodiscard]] NamedTensors mean_with(const NamedTensors& model) const;
  [[nodiscard]] std::int64_t size() const { return size_; }

 private:
  NamedTensors sum_;  ///< float64, or the last integers
  std::vector<at::ScalarType> types_;
  std::int64_t size_ = 0;
};

struct SoupStep {
  std::size_t model = 0;  ///< place in the list of models
  double held_out = 0;    ///< accuracy of the soup with this model in it
  bool kept = false;
};

struct GreedySoup {
  std::vector<double> held_out;  ///< accuracy of each model alone, in the order of the list
  std::vector<SoupStep> steps;   ///< in the order of trying; the first is the best single model
  NamedTensors model;
  double accuracy = 0;  ///< of the soup
};

/// Greedy soup (arXiv:2203.05482, recipe 1): models by falling held-out accuracy, of equal ones the
/// later in the list first; the first is kept, each other one iff the mean with it has strictly
/// more held-out accuracy than the best so far.
///   count     models, at least one
///   read      the model at a place of the list; called once or twice for each
///   held_out  accuracy of a model; called at most 2 count - 1 times
[[nodiscard]] GreedySoup greedy_soup(std::size_t count,
                                     const std::function<NamedTensors(std::size_t)>& read,
                                     const std::function<double(const NamedTensors&)>& held_out);

/// Stands beside a merged checkpoint and tells how it was made.
inline constexpr char kMergeFile[] = "merge.json";

/// What the merge.json beside a checkpoint folder says of it; none where there is no such file or
/// it speaks of other checkpoints. Throws DataError naming the file when it cannot be read.
[[nodiscard]] std::optional<MergeRecord> read_merge_record(const std::string& checkpoint);

/// "0.5", or "0:1:0.1" (first:last:step, both ends included). Throws UsageError unless all lie in
/// [0, 1] and the range ends at its last value.
[[nodiscard]] std::vector<double> parse_alphas(const std::string& text);

/// "alpha-0.10": two decimals, or as many as the value needs, at most nine.
[[nodiscard]] std::string alpha_name(double alpha);

}  // namespace plumbline
