// Start and end of MPI. Without a launcher MPI is never initialised, so that single-process
// commands work on machines whose MPI is broken or of another kind.
#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <exception>

#include "dist/launch_environment.h"
#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

bool launcher_started_us() {
  if (requested_bootstrap() == Bootstrap::env) return false;
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

}  // namespace

MpiSession::MpiSession()
    : launched_(launcher_started_us()), exceptions_(std::uncaught_exceptions()) {
  if (!launched_) return;
  int provided = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
    throw Error("MPI_Init_thread failed, although a launcher started this process");
  }
  if (provided < MPI_THREAD_FUNNELED) {
    throw Error("this MPI allows no threads beside the one that calls it (MPI_THREAD_FUNNELED)");
  }
}

MpiSession::~MpiSession() {
  if (!launched_) return;
  if (std::uncaught_exceptions() > exceptions_) {
    MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::internal));
  }
  MPI_Finalize();
}

void MpiSession::abort(int code) const {
  std::fflush(nullptr);
  if (launched_) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

}  // namespace plumbline
