// The ranks of a job. Back ends: MPI and TCP (host memory), NCCL (GPU memory), in-process (threads,
// tests).
// Every rank must issue the same collectives in the same order.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plumbline/span.h"

namespace plumbline {

enum class ElementType { f32, f64, bf16, i32, i64, u8 };
enum class Reduce { sum, max, min };

/// Bytes of one element.
[[nodiscard]] constexpr std::int64_t size_of(ElementType t) {
  switch (t) {
    case ElementType::f64:
    case ElementType::i64:
      return 8;
    case ElementType::f32:
    case ElementType::i32:
      return 4;
    case ElementType::bf16:
      return 2;
    case ElementType::u8:
      return 1;
  }
  return 0;
}

/// "f32", "bf16", ...
[[nodiscard]] std::string_view name_of(ElementType type);

enum class Collective { all_reduce, all_gather, reduce_scatter, broadcast, barrier };

/// One collective as a rank issued it; `count` is the argument of the call, `sequence` counts the
/// calls of a communicator from 0. `op` means nothing where nothing is reduced, `type` at a
/// barrier.
struct CollectiveCall {
  Collective what = Collective::barrier;
  ElementType type = ElementType::u8;
  Reduce op = Reduce::sum;
  std::int64_t count = 0;
  std::int64_t sequence = 0;
};

/// "all_reduce sum of 12 f32 (collective 7)": for errors.
[[nodiscard]] std::string describe(const CollectiveCall& call);

/// A CUDA stream without CUDA's header: a cudaStream_t, or null for host back ends.
using StreamHandle = void*;

/// Counts are elements. MPI and in-process back ends take host pointers and are done on return;
/// NCCL takes device pointers and returns at once (work is ordered on `stream`). A failure throws
/// Error naming rank, operation, count and sequence number.
///
/// Host back ends reduce in rank order, float32 and bfloat16 in float32, float64 in float64: the
/// result depends on the values and the world size alone, is equal on all of them bit by bit, and a
/// NaN wins every maximum and minimum. NCCL reduces in an order and, for bfloat16, a precision of
/// its own; its result is the same on every rank, and from run to run under NCCL_ALGO=Ring,
/// NCCL_PROTO=Simple.
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// Rank among the ranks of this host.
  [[nodiscard]] virtual int local_rank() const = 0;
  /// "mpi", "nccl", "in-process": for logs.
  [[nodiscard]] virtual std::string name() const = 0;

  /// In place over `count` elements.
  virtual void all_reduce(void* data, std::int64_t count, ElementType type, Reduce op,
                          StreamHandle stream = nullptr) = 0;
  /// recv holds size() * count_each elements, rank by rank. send may be recv's own slot.
  virtual void all_gather(const void* send, void* recv, std::int64_t count_each, ElementType type,
                          StreamHandle stream = nullptr) = 0;
  /// send holds size() * count_each elements; rank r receives the reduced slice r.
  virtual void reduce_scatter(const void* send, void* recv, std::int64_t count_each,
                              ElementType type, Reduce op, StreamHandle stream = nullptr) = 0;
  virtual void broadcast(void* data, std::int64_t count, ElementType type, int root,
                         StreamHandle stream = nullptr) = 0;
  virtual void barrier() = 0;
  /// Ends the job on all ranks with this exit code. In-process ranks are ended by an Error of it.
  [[noreturn]] virtual void abort(int code) = 0;
  /// Throws Error when an earlier collective has failed in the background (NCCL); never waits.
  virtual void check() {}

  /// FNV-1a over (sequence, collective, op, type, count) of every call so far: equal on all ranks
  /// that issued the same calls.
  [[nodiscard]] std::uint64_t order_hash() const { return order_hash_; }
  /// The last calls, oldest first, one a line.
  [[nodiscard]] std::string recent_calls() const;

  // Typed forms for host memory.
  void all_reduce(std::span<float> data, Reduce op) {
    all_reduce(data.data(), std::ssize(data), ElementType::f32, op);
  }
  void all_reduce(std::span<double> data, Reduce op) {
    all_reduce(data.data(), std::ssize(data), ElementType::f64, op);
  }
  void all_reduce(std::span<std::int64_t> data, Reduce op) {
    all_reduce(data.data(), std::ssize(data), ElementType::i64, op);
  }
  [[nodiscard]] double all_reduce(double value, Reduce op) {
    all_reduce(std::span<double>(&value, 1), op);
    return value;
  }
  [[nodiscard]] std::int64_t all_reduce(std::int64_t value, Reduce op) {
    all_reduce(std::span<std::int64_t>(&value, 1), op);
    return value;
  }
  /// The bytes of every rank, in rank order; lengths may differ. Host back ends only.
  [[nodiscard]] std::vector<std::string> all_gather_bytes(const std::string& mine);
  /// Root's bytes on every rank. Host back ends only.
  [[nodiscard]] std::string broadcast_bytes(std::string bytes, int root);

 protected:
  /// Back ends call this first in every collective. Throws InternalError for a negative count.
  CollectiveCall record(Collective what, std::int64_t count, ElementType type,
                        Reduce op = Reduce::sum);

 private:
  static constexpr std::size_t kRecentCalls = 16;
  std::array<CollectiveCall, kRecentCalls> recent_{};
  std::int64_t calls_ = 0;
  std::uint64_t order_hash_ = 0xcbf29ce484222325U;
};

/// Compares the order hash of `checked` over the ranks, by one small all-reduce on `host` (which
/// may be `checked` itself). Collective. Throws InternalError on every rank when they differ, with
/// the hashes and the first calls in which two ranks differ.
void check_same_order(Communicator& host, const Communicator& checked);
inline void check_same_order(Communicator& host) { check_same_order(host, host); }

/// The communicators of a process. `host` always works on host memory; `device` is NCCL when this
/// rank trains on a GPU, else null.
struct Ranks {
  std::unique_ptr<Communicator> host;
  std::unique_ptr<Communicator> device;
  [[nodiscard]] int rank() const { return host->rank(); }
  [[nodiscard]] int size() const { return host->size(); }
};

/// MPI_Init in the constructor, MPI_Finalize in the destructor, when a launcher started the process
/// (OMPI_COMM_WORLD_SIZE, PMI_SIZE or PMIX_RANK is set); nothing otherwise. First object in main.
/// An exception that passes it ends the job with MPI_Abort, since the other ranks may be waiting.
class MpiSession {
 public:
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  [[nodiscard]] bool launched() const { return launched_; }
  /// Ends the processes of all ranks with this exit code: what main calls when one rank fails.
  [[noreturn]] void abort(int code) const;

 private:
  bool launched_ = false;
  int exceptions_ = 0;  ///< in flight when the session began
};

/// The host communicator of this process: MPI under its launcher, TCP where the environment names
/// the ranks (torchrun, Slurm; PLUMBLINE_BOOTSTRAP=auto|mpi|env), else one rank. MPI calls belong
/// to the thread that made the session. Throws UsageError when the environment
/// (OMPI_COMM_WORLD_SIZE, PMI_SIZE, SLURM_STEP_NUM_TASKS or WORLD_SIZE) announces more ranks than
/// the communicator has, since each process would then train a model of its own.
[[nodiscard]] std::unique_ptr<Communicator> make_host_communicator(const MpiSession& session);

/// NCCL over the ranks of `host`, which must outlive it, on CUDA device `device`, which becomes the
/// calling thread's current one. Collective. Throws Error on every rank when the binary has no
/// NCCL, when a rank has no such GPU, when two ranks share one, or when NCCL versions differ.
[[nodiscard]] std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, int device);

/// One rank without neighbours.
[[nodiscard]] std::unique_ptr<Communicator> make_single_communicator();

/// Runs `body(communicator)` on `world` threads of this process, each a rank; rethrows the first
/// exception after all have ended (a rank that throws releases the others with an Error). Ranks
/// that call different collectives, or one that ends while others wait for it, are an
/// InternalError.
void run_in_process(int world, const std::function<void(Communicator&)>& body);

}  // namespace plumbline
