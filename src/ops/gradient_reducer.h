// Sums gradients over the ranks while the backward pass still runs, bucket by bucket.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/sum_of_squares.h"
#include "plumbline/communicator.h"

namespace plumbline {

/// Owns the gradients of its parameters: one flat buffer a dtype, in reverse order of the forward
/// pass, `.grad` of each parameter a view of it (never assign or free `.grad` afterwards). When the
/// last gradient of a bucket is ready the bucket is summed over the ranks; buckets go out in order,
/// whatever order gradients come in, so every rank issues the same collectives.
///
/// On the CPU backward runs in the calling thread, and so do the collectives (MPI is called by the
/// main thread only). On a GPU they run on a stream of their own.
///
/// `sharded` (ZeRO-1, Rajbhandari et al. 2020, arXiv:1910.02054): a bucket is reduce-scattered
/// instead, so each rank receives the sums of 1/W of its elements only, its owned() slices; after
/// the optimizer has updated these, share_parameters() gives every rank the others' results. The
/// same bytes travel as for the all-reduce; optimizer state and time are divided by W.
///
/// A step: zero(); [set_sync(false); backward of all micro-batches but the last; set_sync(true);]
/// backward; finish(). One backward call may feed a part of the parameters, but each parameter gets
/// its synchronised gradient from one call only: a second one throws InternalError.
class GradientReducer {
 public:
  using Parameters = std::vector<std::pair<std::string, at::Tensor>>;

  static constexpr std::int64_t kBucketBytes = std::int64_t{32} << 20;

  /// Elements [first, first + count) of a parameter that this rank updates.
  struct Slice {
    std::string name;
    at::Tensor parameter;
    std::int64_t first = 0, count = 0;
    at::Tensor gradient;  ///< [count], the sums over all ranks after finish()
  };

  /// Collective. All parameters on one device; `ranks` is the communicator of that device's memory
  /// and outlives the reducer. Throws Error when the ranks' parameters differ.
  GradientReducer(const Parameters& in_forward_order, Communicator& ranks,
                  std::int64_t bucket_bytes = kBucketBytes, bool sharded = false);
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
  /// over all ranks (on a GPU: for work of the current stream); of a sharded reducer only the owned
  /// slices do, and the rest of `.grad` means nothing.
  void finish();

  /// This rank's slices in the order of the parameters, at most one a parameter. Whole parameters
  /// unless sharded.
  [[nodiscard]] std::vector<Slice> owned() const;
  /// Collective when sharded, else nothing: each owned slice of the parameters goes to all ranks.
  /// Overwrites the gradients.
  void share_parameters();
  /// Collective, when sharded. `slices` has a tensor [count] for each of owned(), of the
  /// parameter's type; returns the whole tensors, named and shaped as the parameters. They lie in
  /// the memory of the gradients: valid until the next step or call.
  [[nodiscard]] Parameters gather(const std::vector<at::Tensor>& slices);
  [[nodiscard]] bool sharded() const;

  /// L2 norm of all gradients, summed in double; the same on every rank after finish(). Collective
  /// when sharded, and then the sum depends on the number of ranks in its last digits.
  [[nodiscard]] double norm() const;
  /// Names of the parameters that had no gradient in the last synchronised step.
  [[nodiscard]] const std::vector<std::string>& unused() const;
  /// Since construction: bytes handed to collectives, and seconds that compute waited for them.
  [[nodiscard]] std::int64_t bytes_reduced() const;
  [[nodiscard]] double seconds_waiting() const;
  [[nodiscard]] std::int64_t buckets() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  ///< hooks hold it weakly
};

}  // namespace plumbline
