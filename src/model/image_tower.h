// The image side of a model: three architectures behind one call. B rows, N patches, w width.
#pragma once

#include <memory>

#include "model/weights.h"
#include "plumbline/model.h"

namespace plumbline {

class ImageTower {
 public:
  virtual ~ImageTower() = default;
  /// pixels_BCHW of the tower's size and float type. Returns [B, embed_dim], not normalised.
  [[nodiscard]] virtual at::Tensor forward(const at::Tensor& pixels_BCHW, bool training,
                                           const PassOptions& pass) = 0;
};

/// Each declares its tensors under `visual.`.
[[nodiscard]] std::unique_ptr<ImageTower> declare_vit(Weights& weights,
                                                      const VisionOptions& options,
                                                      std::int64_t embed_dim);
[[nodiscard]] std::unique_ptr<ImageTower> declare_resnet(Weights& weights,
                                                         const VisionOptions& options,
                                                         std::int64_t embed_dim);
[[nodiscard]] std::unique_ptr<ImageTower> declare_siglip_trunk(Weights& weights,
                                                               const VisionOptions& options);

/// [B, 3, H, W] to [B N, 3 p p], patches in rows of the grid; what is left over at the right and
/// lower edge is not looked at. With it, a convolution whose stride is its size is one product.
[[nodiscard]] at::Tensor patches_of(const at::Tensor& pixels_BCHW, std::int64_t patch);

}  // namespace plumbline
