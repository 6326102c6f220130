// Encoded images to batches of pixels, decoded by threads one batch ahead of the model.
#pragma once

#include <future>
#include <string>
#include <vector>

#include "plumbline/eval.h"

namespace plumbline {

struct ImageBatch {
  std::int64_t first = 0;            ///< place of row 0 in the list of images
  std::int64_t rows = 0;             ///< images; further rows of the tensor are zero
  at::Tensor pixels_BHWC;            ///< uint8
  std::vector<std::string> refused;  ///< of each image: why it could not be decoded, else empty
};

/// Batches of images [begin, end) in order. Every tensor has `batch` rows, so that the numbers of
/// a row do not depend on how many others there are.
class ImageBatches {
 public:
  /// `images` must outlive this. `border_px` is cropped from each side before the resize.
  ImageBatches(const std::vector<ImageRef>& images, std::int64_t begin, std::int64_t end,
               std::int64_t batch, int border_px, const EvalContext& context);
  ~ImageBatches();
  ImageBatches(const ImageBatches&) = delete;
  ImageBatches& operator=(const ImageBatches&) = delete;

  [[nodiscard]] bool done() const { return next_ >= end_; }
  /// Throws DataError when a file cannot be read.
  [[nodiscard]] ImageBatch next();

 private:
  struct Worker;
  void start();
  [[nodiscard]] ImageBatch decode(std::int64_t first);

  const std::vector<ImageRef>& images_;
  std::int64_t next_, end_, batch_;
  int border_px_;
  PreprocessOptions preprocess_;
  std::vector<Worker> workers_;
  std::future<ImageBatch> ahead_;
};

/// Features [rows, embed_dim] (unit rows if `normalise`), float32, on the context's device.
[[nodiscard]] at::Tensor encode_batch(const ImageBatch& batch, EvalContext& context,
                                      bool normalise = true);

}  // namespace plumbline
