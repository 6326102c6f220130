// Picks the back end of the host communicator from what started the process.
#include "dist/launch_environment.h"
#include "dist/mpi_communicator.h"
#include "dist/tcp_communicator.h"
#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {

std::unique_ptr<Communicator> make_host_communicator(const MpiSession& session) {
  const Bootstrap bootstrap = requested_bootstrap();
  std::unique_ptr<Communicator> communicator = make_single_communicator();
  if (session.launched()) {
    communicator = make_mpi_communicator();
  } else if (bootstrap != Bootstrap::mpi) {
    if (const auto place = launch_environment()) communicator = make_tcp_communicator(*place);
  }
  const auto [announced, variable] = announced_world();
  if (announced > communicator->size()) {
    throw UsageError(str(
        variable, "=", announced, ", but ", session.launched() ? "MPI connects " : "there are ",
        communicator->size(),
        " rank(s): each process would train a model of its own; start it with the mpirun of the "
        "Open MPI this program is built with, or let RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT "
        "(or Slurm's variables, with PLUMBLINE_BOOTSTRAP=env) say where rank 0 is, or unset ",
        variable, " for a single process"));
  }
  return communicator;
}

}  // namespace plumbline
