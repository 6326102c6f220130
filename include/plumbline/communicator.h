// The ranks of a job. Back ends: MPI (host memory), NCCL (GPU memory), in-process (threads, tests).
// Every rank must issue the same collectives in the same order.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plumbline/span.h"

namespace plumbline {

enum class ElementType { f32, f64, bf16, i32, i64, u8 };
enum class Reduce { sum, max, min };

/// Bytes of one element.
[[nodiscard]] constexpr std::int64_t size_of(ElementType t) {
  switch (t) {
    case ElementType::f64:
    case ElementType::i64: return 8;
    case ElementType::f32:
    case ElementType::i32: return 4;
    case ElementType::bf16: return 2;
    case ElementType::u8: return 1;
  }
  return 0;
}

/// A CUDA stream without CUDA's header: a cudaStream_t, or null for host back ends.
using StreamHandle = void*;

/// Counts are elements. MPI and in-process back ends take host pointers and are done on return;
/// NCCL takes device pointers and returns at once (work is ordered on `stream`). A failure throws
/// Error naming rank, operation, count and sequence number.
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// Rank among the ranks of this host.
  [[nodiscard]] virtual int local_rank() const = 0;
  /// "mpi", "nccl", "in-process": for logs.
  [[nodiscard]] virtual std::string name() const = 0;

  /// In place over `count` elements. bf16 is summed in float32 in rank order.
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
  /// Ends the job on all ranks with this exit code; does not return on MPI.
  [[noreturn]] virtual void abort(int code) = 0;

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
};

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
class MpiSession {
 public:
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  [[nodiscard]] bool launched() const { return launched_; }

 private:
  bool launched_ = false;
};

/// The host communicator of this process: MPI under a launcher, else one rank. Throws Error when
/// the environment announces more ranks than the communicator has (a launcher of another MPI).
[[nodiscard]] std::unique_ptr<Communicator> make_host_communicator(const MpiSession& session);

/// NCCL over the ranks of `host`, on CUDA device `device`. Collective. Throws Error when the binary
/// has no NCCL, when two ranks share a GPU, or when NCCL fails.
[[nodiscard]] std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, int device);

/// One rank without neighbours.
[[nodiscard]] std::unique_ptr<Communicator> make_single_communicator();

/// Runs `body(communicator)` on `world` threads of this process, each a rank; rethrows the first
/// exception after all have ended (a rank that throws releases the others with an Error).
void run_in_process(int world, const std::function<void(Communicator&)>& body);

}  // namespace plumbline
