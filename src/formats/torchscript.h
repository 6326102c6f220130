// OpenAI's archives of torch.jit.save.
#pragma once

#include <string>

#include "formats/foreign.h"

namespace plumbline {

/// Tensors of the modules' attributes; the code in the archive is not looked at. Sizes of the model
/// follow from the shapes, the activation is QuickGELU. Throws DataError naming file and byte for a
/// damaged archive, UsageError when the tensors are not those of a CLIP.
[[nodiscard]] ForeignCheckpoint read_openai_archive(const std::string& path);

}  // namespace plumbline
