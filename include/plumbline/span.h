// Views of memory that somebody else owns. Host memory is std::span; memory on a GPU has a type of
// its own, so that the two cannot be mixed up.
#pragma once

#include <cstddef>
#include <span>

namespace plumbline {

/// `size` elements on a GPU.
template <typename T>
struct DeviceSpan {
  T* data = nullptr;
  std::size_t size = 0;
};

}  // namespace plumbline
