// Collectives on host memory by MPI's C interface. MPI moves bytes and never adds them: its sums
// depend on the algorithm it picks, so the parts are brought together and added here in rank order.
// Price of that, per rank and all-reduce of n bytes over W ranks: the (W-1)/W * 2n bytes on the
// wire of a ring, in two steps instead of 2(W-1), and n bytes of memory (at most kChunk elements).
#include <mpi.h>

#include <algorithm>
#include <cstdlib>

#include "dist/mpi_communicator.h"
#include "dist/ordered_reduce.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::int64_t kChunk = std::int64_t{1} << 24;            // elements: MPI counts are int
constexpr std::int64_t kAllToEachBytes = std::int64_t{16} << 10;  // below: one step, no slices

/// `bytes` bytes that recur every `stride` bytes.
class StridedBlock {
 public:
  StridedBlock(std::int64_t bytes, std::int64_t stride) {
    MPI_Datatype block = MPI_DATATYPE_NULL;
    MPI_Type_contiguous(static_cast<int>(bytes), MPI_BYTE, &block);
    MPI_Type_create_resized(block, 0, static_cast<MPI_Aint>(stride), &type_);
    MPI_Type_commit(&type_);
    MPI_Type_free(&block);
  }
  ~StridedBlock() { MPI_Type_free(&type_); }
  StridedBlock(const StridedBlock&) = delete;
  StridedBlock& operator=(const StridedBlock&) = delete;
  [[nodiscard]] MPI_Datatype get() const { return type_; }

 private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator();
  ~MpiCommunicator() override { MPI_Comm_free(&comm_); }

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] int local_rank() const override { return local_rank_; }
  [[nodiscard]] std::string name() const override { return "mpi"; }

  void all_reduce(void* data, std::int64_t count, ElementType type, Reduce op,
                  StreamHandle) override;
  void all_gather(const void* send, void* recv, std::int64_t count_each, ElementType type,
                  StreamHandle) override;
  void reduce_scatter(const void* send, void* recv, std::int64_t count_each, ElementType type,
                      Reduce op, StreamHandle) override;
  void broadcast(void* data, std::int64_t count, ElementType type, int root, StreamHandle) override;
  void barrier() override {
    expect(MPI_Barrier(comm_), record(Collective::barrier, 0, ElementType::u8));
  }
  [[noreturn]] void abort(int code) override {
    MPI_Abort(comm_, code);
    std::_Exit(code);
  }

 private:
  void expect(int result, const CollectiveCall& call) const;
  void reduce_all_to_each(std::byte* data, std::int64_t count, const CollectiveCall& call);
  void reduce_by_slices(std::byte* data, std::int64_t count, const CollectiveCall& call);
  /// One part a rank, `bytes` apart, in scratch_.
  [[nodiscard]] std::vector<const void*> parts_in_scratch(std::int64_t bytes) const;
  std::byte* scratch(std::int64_t bytes) {
    scratch_.resize(std::max(scratch_.size(), static_cast<std::size_t>(bytes)));
    return scratch_.data();
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1, local_rank_ = 0;
  std::vector<std::byte> scratch_;
};

MpiCommunicator::MpiCommunicator() {
  MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
  MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  MPI_Comm_rank(comm_, &rank_);
  MPI_Comm_size(comm_, &size_);
  MPI_Comm host = MPI_COMM_NULL;
  MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host);
  MPI_Comm_rank(host, &local_rank_);
  MPI_Comm_free(&host);
}

// Resumable: what fails here is the machine or the network, not the run.
void MpiCommunicator::expect(int result, const CollectiveCall& call) const {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw Error(str("rank ", rank_, " of ", size_, ": MPI ", describe(call), " failed: ", text),
              ExitCode::resumable);
}

std::vector<const void*> MpiCommunicator::parts_in_scratch(std::int64_t bytes) const {
  std::vector<const void*> parts;
  for (int r = 0; r < size_; ++r) parts.push_back(scratch_.data() + r * bytes);
  return parts;
}

void MpiCommunicator::all_reduce(void* data, std::int64_t count, ElementType type, Reduce op,
                                 StreamHandle) {
  const CollectiveCall call = record(Collective::all_reduce, count, type, op);
  if (size_ == 1) return;
  const std::int64_t each = size_of(type);
  auto* bytes = static_cast<std::byte*>(data);
  if (count * each * size_ <= kAllToEachBytes) return reduce_all_to_each(bytes, count, call);
  for (std::int64_t start = 0; start < count; start += kChunk) {
    reduce_by_slices(bytes + start * each, std::min(kChunk, count - start), call);
  }
}

// Every rank receives everything and adds it: one step, what a few numbers a step need.
void MpiCommunicator::reduce_all_to_each(std::byte* data, std::int64_t count,
                                         const CollectiveCall& call) {
  const std::int64_t bytes = count * size_of(call.type);
  const int length = static_cast<int>(bytes);
  expect(MPI_Allgather(data, length, MPI_BYTE, scratch(bytes * size_), length, MPI_BYTE, comm_),
         call);
  ordered_reduce(data, parts_in_scratch(bytes), count, call.type, call.op);
}

// Rank r receives slice r of every rank, adds, and the sums are gathered.
void MpiCommunicator::reduce_by_slices(std::byte* data, std::int64_t count,
                                       const CollectiveCall& call) {
  const std::int64_t each = size_of(call.type);
  const auto world = static_cast<std::size_t>(size_);
  std::vector<int> starts(world), lengths(world), part_starts(world), part_lengths(world);
  const auto begin = [&](std::size_t r) { return count * static_cast<std::int64_t>(r) / size_; };
  const auto mine = static_cast<std::size_t>(rank_);
  const std::int64_t my_count = begin(mine + 1) - begin(mine);
  for (std::size_t r = 0; r < world; ++r) {
    starts[r] = static_cast<int>(begin(r) * each);
    lengths[r] = static_cast<int>((begin(r + 1) - begin(r)) * each);
    part_lengths[r] = static_cast<int>(my_count * each);
    part_starts[r] = static_cast<int>(static_cast<std::int64_t>(r) * my_count * each);
  }
  std::byte* parts = scratch(my_count * each * size_);
  expect(MPI_Alltoallv(data, lengths.data(), starts.data(), MPI_BYTE, parts, part_lengths.data(),
                       part_starts.data(), MPI_BYTE, comm_),
         call);
  ordered_reduce(data + begin(mine) * each, parts_in_scratch(my_count * each), my_count, call.type,
                 call.op);
  expect(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, lengths.data(), starts.data(),
                        MPI_BYTE, comm_),
         call);
}

void MpiCommunicator::all_gather(const void* send, void* recv, std::int64_t count_each,
                                 ElementType type, StreamHandle) {
  const CollectiveCall call = record(Collective::all_gather, count_each, type);
  const std::int64_t each = size_of(type), stride = count_each * each;
  const auto* from = static_cast<const std::byte*>(send);
  auto* to = static_cast<std::byte*>(recv);
  const bool in_place = from == to + rank_ * stride;
  for (std::int64_t start = 0; start < count_each; start += kChunk) {
    const std::int64_t bytes = std::min(kChunk, count_each - start) * each;
    const StridedBlock block(bytes, stride);
    expect(MPI_Allgather(in_place ? MPI_IN_PLACE : from + start * each, static_cast<int>(bytes),
                         MPI_BYTE, to + start * each, 1, block.get(), comm_),
           call);
  }
}

void MpiCommunicator::reduce_scatter(const void* send, void* recv, std::int64_t count_each,
                                     ElementType type, Reduce op, StreamHandle) {
  const CollectiveCall call = record(Collective::reduce_scatter, count_each, type, op);
  const std::int64_t each = size_of(type);
  const auto* from = static_cast<const std::byte*>(send);
  auto* to = static_cast<std::byte*>(recv);
  const std::int64_t chunk = std::max<std::int64_t>(1, kChunk / size_);
  // recv may be this rank's slot of send: a later chunk's send never reads an earlier one's recv.
  for (std::int64_t start = 0; start < count_each; start += chunk) {
    const std::int64_t count = std::min(chunk, count_each - start), bytes = count * each;
    const StridedBlock block(bytes, count_each * each);
    expect(MPI_Alltoall(from + start * each, 1, block.get(), scratch(bytes * size_),
                        static_cast<int>(bytes), MPI_BYTE, comm_),
           call);
    ordered_reduce(to + start * each, parts_in_scratch(bytes), count, type, op);
  }
}

void MpiCommunicator::broadcast(void* data, std::int64_t count, ElementType type, int root,
                                StreamHandle) {
  const CollectiveCall call = record(Collective::broadcast, count, type);
  const std::int64_t each = size_of(type);
  auto* bytes = static_cast<std::byte*>(data);
  for (std::int64_t start = 0; start < count; start += kChunk) {
    const auto length = static_cast<int>(std::min(kChunk, count - start) * each);
    expect(MPI_Bcast(bytes + start * each, length, MPI_BYTE, root, comm_), call);
  }
}

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator() {
  return std::make_unique<MpiCommunicator>();
}

}  // namespace plumbline
