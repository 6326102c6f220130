// Sums gradients over the ranks while the backward pass still runs, bucket by bucket.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plumbline/communicator.h"

namespace plumbline {

/// Sum of squares of all elements in double, in an order that depends on the size alone.
[[nodiscard]] double sum_of_squares(const at::Tensor& tensor);

/// Owns the gradients of its parameters: one flat buffer a dtype, in reverse order of the forward
/// pass, `.grad` of each parameter a view of it (never assign or free `.grad` afterwards). When the
/// last gradient of a bucket is ready the bucket is summed over the ranks; buckets go out in order,
/// whatever order gradients come in, so every rank issues the same collectives.
///
/// On the CPU backward runs in the calling thread, and so do the collectives (MPI is called by the
/// main thread only). On a GPU they run on a stream of their own.
///
/// A step: zero(); [set_sync(false); backward of all micro-batches but the last; set_sync(true);]
/// backward; finish(). One backward call may feed a part of the parameters, but each parameter gets
/// its synchronised gradient from one call only: a second one throws InternalError.
class GradientReducer {
 public:
  using Parameters = std::vector<std::pair<std::string, at::Tensor>>;

  /// Collective. All parameters on one device; `ranks` is the communicator of that device's memory
  /// and outlives the reducer. Throws Error when the ranks' parameters differ.
  GradientReducer(const Parameters& in_forward_order, Communicator& ranks,
                  std::int64_t bucket_bytes = std::int64_t{32} << 20);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// While false, backward only accumulates on this rank.
  void set_sync(bool sync);
  /// Zeroes every gradient and begins a step.
  void zero();
  /// For a gradient written by hand into `.grad`: it is complete and may be sent.
  void mark_ready(const at::Tensor& parameter);
  /// Sends what is left, parameters without a gradient as zeros; afterwards `.grad` holds the sums
  /// over all ranks (on a GPU: for work of the current stream).
  void finish();

  /// L2 norm of all gradients, summed in double; the same on every rank after finish().
  [[nodiscard]] double norm() const;
  /// Names of the parameters that had no gradient in the last synchronised step.
  [[nodiscard]] const std::vector<std::string>& unused() const;
  /// Since construction: bytes handed to all-reduce, and seconds that compute waited for them.
  [[nodiscard]] std::int64_t bytes_reduced() const;
  [[nodiscard]] double seconds_waiting() const;
  [[nodiscard]] std::int64_t buckets() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  ///< hooks hold it weakly
};

}  // namespace plumbline
