// Pixels as the loader delivers them to what the towers read.
#pragma once

#include <torch/torch.h>

#include "plumbline/image.h"

namespace plumbline {

/// (v / 255 - mean) / std, each rounding as torchvision's ToTensor and Normalize place it.
///   pixels_BHWC  uint8 [B, height, width, 3], contiguous rows
/// Returns [B, 3, height, width], float32 or bfloat16, on the same device.
[[nodiscard]] at::Tensor preprocess_image(const at::Tensor& pixels_BHWC,
                                          const PreprocessOptions& options,
                                          at::ScalarType dtype = at::kFloat);

}  // namespace plumbline
