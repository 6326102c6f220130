// Image-text retrieval: which image belongs to a caption, which captions to an image.
#pragma once

#include "plumbline/eval.h"

namespace plumbline {

/// Scores = text . image of unit rows in float32, every text against every image of the set. An
/// image that cannot be decoded leaves the set together with its captions. Collective; all ranks
/// return the same result, whatever their number. Cost: 4 texts images embed_dim FLOP.
[[nodiscard]] SetResult score_retrieval(const EvalSet& set, EvalContext& context);

}  // namespace plumbline
