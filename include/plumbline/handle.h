// Owns a resource of a C library: Handle<FILE, std::fclose>.
#pragma once

#include <memory>

namespace plumbline {

template <auto Destroy>
struct Destroyer {
  template <typename T>
  void operator()(T* resource) const noexcept {
    (void)Destroy(resource);
  }
};

template <typename T, auto Destroy>
using Handle = std::unique_ptr<T, Destroyer<Destroy>>;

}  // namespace plumbline
