// Collectives on GPU memory by NCCL, in non-blocking mode: no call waits inside NCCL, so a failure
// elsewhere never leaves this process stuck in a library. Before NCCL starts, the ranks exchange
// what they have over `host` and fail together, with a sentence that names the rank.
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

ncclDataType_t nccl_type(ElementType type) {
  switch (type) {
    case ElementType::f32:
      return ncclFloat32;
    case ElementType::f64:
      return ncclFloat64;
    case ElementType::bf16:
      return ncclBfloat16;
    case ElementType::i32:
      return ncclInt32;
    case ElementType::i64:
      return ncclInt64;
    case ElementType::u8:
      return ncclUint8;
  }
  return ncclUint8;
}

ncclRedOp_t nccl_op(Reduce op) {
  switch (op) {
    case Reduce::sum:
      return ncclSum;
    case Reduce::max:
      return ncclMax;
    case Reduce::min:
      return ncclMin;
  }
  return ncclSum;
}

/// Polls until NCCL has done what an earlier call began; returns how that ended. `comm` may be null
/// only while `last` is final.
ncclResult_t settle(ncclComm_t comm, ncclResult_t last) {
  for (int polls = 0; last == ncclInProgress; ++polls) {
    if (polls > 100)
      std::this_thread::sleep_for(std::chrono::microseconds(polls > 2000 ? 1000 : 20));
    if (const ncclResult_t asked = ncclCommGetAsyncError(comm, &last); asked != ncclSuccess) {
      return asked;
    }
  }
  return last;
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& host, const ncclUniqueId& id);
  ~NcclCommunicator() override;

  [[nodiscard]] int rank() const override { return host_.rank(); }
  [[nodiscard]] int size() const override { return host_.size(); }
  [[nodiscard]] int local_rank() const override { return host_.local_rank(); }
  [[nodiscard]] std::string name() const override { return "nccl"; }

  void all_reduce(void* data, std::int64_t count, ElementType type, Reduce op,
                  StreamHandle stream) override {
    const CollectiveCall call = record(Collective::all_reduce, count, type, op);
    expect(ncclAllReduce(data, data, static_cast<std::size_t>(count), nccl_type(type), nccl_op(op),
                         comm_, static_cast<cudaStream_t>(stream)),
           call);
  }
  void all_gather(const void* send, void* recv, std::int64_t count_each, ElementType type,
                  StreamHandle stream) override {
    const CollectiveCall call = record(Collective::all_gather, count_each, type);
    expect(ncclAllGather(send, recv, static_cast<std::size_t>(count_each), nccl_type(type), comm_,
                         static_cast<cudaStream_t>(stream)),
           call);
  }
  void reduce_scatter(const void* send, void* recv, std::int64_t count_each, ElementType type,
                      Reduce op, StreamHandle stream) override {
    const CollectiveCall call = record(Collective::reduce_scatter, count_each, type, op);
    expect(ncclReduceScatter(send, recv, static_cast<std::size_t>(count_each), nccl_type(type),
                             nccl_op(op), comm_, static_cast<cudaStream_t>(stream)),
           call);
  }
  void broadcast(void* data, std::int64_t count, ElementType type, int root,
                 StreamHandle stream) override {
    const CollectiveCall call = record(Collective::broadcast, count, type);
    expect(ncclBroadcast(data, data, static_cast<std::size_t>(count), nccl_type(type), root, comm_,
                         static_cast<cudaStream_t>(stream)),
           call);
  }
  /// Of the processes; work on the GPU goes on.
  void barrier() override {
    record(Collective::barrier, 0, ElementType::u8);
    host_.barrier();
  }
  [[noreturn]] void abort(int code) override {
    ncclCommAbort(comm_);
    comm_ = nullptr;
    host_.abort(code);
    std::_Exit(code);  // g++ 12 does not see through the virtual call
  }
  void check() override;

 private:
  [[noreturn]] void fail(ncclResult_t result, const std::string& doing);
  void expect(ncclResult_t result, const CollectiveCall& call) {
    {
      const std::lock_guard lock(last_mutex_);
      last_ = call;
    }
    result = settle(comm_, result);
    if (result != ncclSuccess) fail(result, describe(call));
  }

  Communicator& host_;
  ncclComm_t comm_ = nullptr;
  std::mutex last_mutex_;  ///< check() may come from the watchdog's thread
  CollectiveCall last_;
  std::atomic<bool> failed_ = false;
};

NcclCommunicator::NcclCommunicator(Communicator& host, const ncclUniqueId& id) : host_(host) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  config.commName = "plumbline";
  ncclResult_t result = ncclCommInitRankConfig(&comm_, host.size(), id, host.rank(), &config);
  if (comm_ != nullptr) result = settle(comm_, result);
  if (result == ncclSuccess) return;
  const std::string why = ncclGetErrorString(result), last = ncclGetLastError(comm_);
  if (comm_ != nullptr) ncclCommAbort(comm_);  // the destructor does not run
  throw Error(str("rank ", host.rank(), " of ", host.size(), ": starting NCCL failed: ", why, ": ",
                  last, " (NCCL_DEBUG=INFO says more)"),
              ExitCode::resumable);
}

NcclCommunicator::~NcclCommunicator() {
  if (comm_ == nullptr) return;
  // A rank that leaves by an exception must not wait for work that the others never join.
  const bool broken = failed_ || std::uncaught_exceptions() > 0;
  if (broken || settle(comm_, ncclCommFinalize(comm_)) != ncclSuccess) {
    ncclCommAbort(comm_);
  } else {
    ncclCommDestroy(comm_);
  }
}

// Resumable: a network or GPU error ends the process, and the job starts again from its checkpoint.
void NcclCommunicator::fail(ncclResult_t result, const std::string& doing) {
  failed_ = true;
  throw Error(str("rank ", rank(), " of ", size(), ": NCCL ", doing,
                  " failed: ", ncclGetErrorString(result), ": ", ncclGetLastError(comm_)),
              ExitCode::resumable);
}

void NcclCommunicator::check() {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
  if (asked != ncclSuccess) fail(asked, "asked for its state");
  if (state == ncclSuccess || state == ncclInProgress) return;
  CollectiveCall last;
  {
    const std::lock_guard lock(last_mutex_);
    last = last_;
  }
  fail(state, str("work in the background, the last call being ", describe(last), ","));
}

/// Two containers may share a host name, but not a boot of the kernel.
std::string machine() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return str(name, " (boot ", boot, ")");
}

/// "gpu <machine> <PCI bus id>", or "error <why this rank cannot start>". Never throws: the ranks
/// must fail together.
std::string describe_device(int device) {
  int devices = 0;
  if (const cudaError_t e = cudaGetDeviceCount(&devices); e != cudaSuccess) {
    return str("error no usable GPU: ", cudaGetErrorString(e));
  }
  if (device < 0 || device >= devices) {
    return str("error GPU ", device, " is wanted, but ", devices, " are visible");
  }
  if (const cudaError_t e = cudaSetDevice(device); e != cudaSuccess) {
    return str("error GPU ", device, ": ", cudaGetErrorString(e));
  }
  int version = 0;
  ncclGetVersion(&version);
  if (version != NCCL_VERSION_CODE) {
    return str("error NCCL ", version, " is loaded, but the program was built with ",
               NCCL_VERSION_CODE, ": check LD_LIBRARY_PATH");
  }
  char bus[64] = "";
  if (const cudaError_t e = cudaDeviceGetPCIBusId(bus, sizeof bus, device); e != cudaSuccess) {
    return str("error GPU ", device, ": ", cudaGetErrorString(e));
  }
  return str("gpu ", bus, " of ", machine());
}

/// Throws on every rank when any rank has no GPU of its own.
void require_own_gpus(Communicator& host, int device) {
  const std::vector<std::string> all = host.all_gather_bytes(describe_device(device));
  std::map<std::string, std::size_t> owner;
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (all[r].starts_with("error ")) throw UsageError(str("rank ", r, ": ", all[r].substr(6)));
    const auto [first, fresh] = owner.emplace(all[r], r);
    if (!fresh) {
      throw UsageError(str("ranks ", first->second, " and ", r, " both use ", all[r],
                           "; NCCL needs one GPU a rank: start as many ranks as there are GPUs"));
    }
  }
}

/// Rank 0's id on every rank, or its error.
ncclUniqueId shared_id(Communicator& host) {
  ncclUniqueId id{};
  std::string bytes;
  if (host.rank() == 0) {
    const ncclResult_t result = ncclGetUniqueId(&id);
    bytes = result == ncclSuccess ? std::string(id.internal, sizeof id.internal)
                                  : std::string(ncclGetErrorString(result));
  }
  bytes = host.broadcast_bytes(std::move(bytes), 0);
  if (bytes.size() != sizeof id.internal) throw Error("rank 0: ncclGetUniqueId failed: " + bytes);
  std::memcpy(id.internal, bytes.data(), sizeof id.internal);
  return id;
}

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, int device) {
  require_own_gpus(host, device);
  return std::make_unique<NcclCommunicator>(host, shared_id(host));
}

}  // namespace plumbline
