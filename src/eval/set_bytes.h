// A set as bytes, so that one rank lists a folder and the others get the result.
#pragma once

#include <string>

#include "plumbline/eval_suite.h"

namespace plumbline {

/// Everything but the options, which every rank has read.
[[nodiscard]] std::string pack(const EvalSet& set);
[[nodiscard]] EvalSet unpack(const std::string& bytes, const EvalSetOptions& options);

}  // namespace plumbline
