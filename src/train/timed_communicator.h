// How long a rank stands in collectives: what a slow neighbour costs it.
#pragma once

#include <memory>

#include "plumbline/communicator.h"

namespace plumbline {

/// `inner` with a clock around each of its blocking calls. For host back ends: NCCL's calls return
/// at once.
[[nodiscard]] std::unique_ptr<Communicator> time_collectives(std::unique_ptr<Communicator> inner);

/// Seconds that this rank has spent in collectives of a communicator made by time_collectives; 0 of
/// any other.
[[nodiscard]] double seconds_in_collectives(const Communicator& ranks);

}  // namespace plumbline
