// What every back end must do, as one body that runs on each of them.
#pragma once

#include <cstddef>
#include <vector>

#include "plumbline/communicator.h"

namespace plumbline {

/// Where a back end's buffers live. The default is host memory.
class Memory {
 public:
  virtual ~Memory() = default;
  virtual void* upload(const std::vector<std::byte>& bytes);
  /// Waits for the stream, reads `size` bytes and frees.
  virtual std::vector<std::byte> take(void* buffer, std::size_t size);
  virtual StreamHandle stream() { return nullptr; }
};

/// Every operation, type and reduction at odd and zero counts, in place and not, with small
/// integers so that sums are exact. Collective. Fails as gtest expectations.
void expect_conformance(Communicator& communicator, Memory& memory);

/// Byte strings of unequal lengths, gathered and broadcast. Host back ends.
void expect_bytes(Communicator& communicator);

}  // namespace plumbline
