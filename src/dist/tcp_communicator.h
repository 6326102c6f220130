// Ranks without MPI: they find each other over TCP, as torchrun and bare `srun` start them.
#pragma once

#include <chrono>
#include <memory>

#include "dist/launch_environment.h"
#include "plumbline/communicator.h"

namespace plumbline {

/// Connects this process with the others of its job. Rank 0 listens at `place.port`; the others
/// connect to it, so all traffic passes rank 0: meant for the control messages of GPU runs, whose
/// tensors go by NCCL. On CPUs it is as exact as MPI, and slower with every rank. Price of an
/// all-reduce of n bytes over W ranks: 2n(W-1) bytes through rank 0, in rounds of at most 32 MiB.
/// Local ranks follow from the launcher's word, else from who shares a host.
/// Collective. Throws UsageError on every rank when two processes claim one rank or a world size
/// differs; Error when ranks stay away longer than `patience`, naming them. A process that speaks
/// another protocol, or belongs to another job, is turned away.
[[nodiscard]] std::unique_ptr<Communicator> make_tcp_communicator(
    const LaunchEnvironment& place, std::chrono::milliseconds patience = std::chrono::minutes(5));

}  // namespace plumbline
