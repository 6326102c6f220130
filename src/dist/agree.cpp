#include "dist/agree.h"

#include <string>

#include "plumbline/error.h"

namespace plumbline {

void agree(Communicator& ranks, const std::function<void()>& work) {
  std::string problem;
  ExitCode code = ExitCode::done;
  try {
    work();
  } catch (const Error& e) {
    problem = e.what();
    code = e.code();
  } catch (const std::exception& e) {
    problem = e.what();
    code = ExitCode::internal;
  }
  const bool failed = code != ExitCode::done;
  const std::int64_t first = ranks.all_reduce(
      static_cast<std::int64_t>(failed ? ranks.rank() : ranks.size()), Reduce::min);
  if (first == ranks.size()) return;
  const int root = static_cast<int>(first);
  const std::int64_t shared_code = ranks.all_reduce(
      static_cast<std::int64_t>(ranks.rank() == root ? static_cast<int>(code) : 0), Reduce::max);
  throw AgreedError(ranks.broadcast_bytes(problem, root), static_cast<ExitCode>(shared_code));
}

}  // namespace plumbline
