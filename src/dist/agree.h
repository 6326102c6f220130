// Errors that every rank must learn: a rank never throws alone while others wait in a collective.
#pragma once

#include <functional>

#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {

/// An error that all ranks throw together: they can end without breaking each other's collectives.
class AgreedError : public Error {
 public:
  using Error::Error;
};

/// Runs `work` on every rank; if it throws on any, all ranks throw an AgreedError with the message
/// and exit code of the lowest such rank. Collective; `work` itself must not be.
void agree(Communicator& ranks, const std::function<void()>& work);

}  // namespace plumbline
