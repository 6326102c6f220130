// Stands in where the build found no NCCL.
#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, int device) {
  throw UsageError(str("rank ", host.rank(), " cannot use GPU ", device,
                       " with other ranks: this program was built without NCCL"));
}

}  // namespace plumbline
