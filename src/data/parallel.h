// Runs independent pieces of work on a few threads and waits for all of them.
#pragma once

#include <cstdint>
#include <functional>

namespace plumbline {

/// CPU threads this process may use (its affinity mask, at least 1).
[[nodiscard]] int available_threads();

/// Calls work(0) ... work(n - 1), each once, on up to `threads` threads. The exception of the
/// smallest index is rethrown after all have ended; no new piece starts after a failure.
void parallel_for(std::int64_t n, int threads, const std::function<void(std::int64_t)>& work);

}  // namespace plumbline
