// Whether every rank holds the same weights: memory or a bus may flip a bit, and nothing else would
// tell.
#pragma once

#include "plumbline/communicator.h"
#include "plumbline/model.h"

namespace plumbline {

/// XXH3-64 over the bytes of all tensors, in order.
[[nodiscard]] std::uint64_t hash_of(const NamedTensors& tensors);

/// Collective. Compares hash_of(tensors) over the ranks. When they differ all ranks throw an
/// AgreedError (resumable) that names the ranks outside the majority with their hosts, or, where
/// there is no majority, every hash. Cost: one pass over the weights on the host, 8 bytes a rank.
void check_replicas(const NamedTensors& tensors, Communicator& ranks, std::int64_t step);

}  // namespace plumbline
