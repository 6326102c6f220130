#pragma once

#include <memory>

#include "plumbline/communicator.h"

namespace plumbline {

/// The ranks of MPI_COMM_WORLD; MPI must be initialised.
[[nodiscard]] std::unique_ptr<Communicator> make_mpi_communicator();

}  // namespace plumbline
