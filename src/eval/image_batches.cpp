#include "eval/image_batches.h"

#include <algorithm>
#include <atomic>

#include "data/parallel.h"
#include "ops/preprocess_image.h"
#include "plumbline/error.h"

namespace plumbline {

/// What one decode thread keeps between images.
struct ImageBatches::Worker {
  ImageDecoder decoder;
  Image image;
  Image inner;
  ResizeScratch scratch;
};

namespace {

/// `image` without `border` pixels on each side; `image` itself when it has no more than those.
const Image& crop_border(const Image& image, int border, Image& inner) {
  if (border == 0 || image.width <= 2 * border || image.height <= 2 * border) return image;
  inner.width = image.width - 2 * border;
  inner.height = image.height - 2 * border;
  const auto row_bytes = static_cast<std::size_t>(inner.width) * 3;
  inner.pixels_HWC.resize(row_bytes * static_cast<std::size_t>(inner.height));
  for (int y = 0; y < inner.height; ++y) {
    const auto from =
        (static_cast<std::size_t>(y + border) * static_cast<std::size_t>(image.width) +
         static_cast<std::size_t>(border)) *
        3;
    std::copy_n(image.pixels_HWC.begin() + static_cast<std::ptrdiff_t>(from), row_bytes,
                inner.pixels_HWC.begin() +
                    static_cast<std::ptrdiff_t>(row_bytes * static_cast<std::size_t>(y)));
  }
  return inner;
}

}  // namespace

ImageBatches::ImageBatches(const std::vector<ImageRef>& images, std::int64_t begin,
                           std::int64_t end, std::int64_t batch, int border_px,
                           const EvalContext& context)
    : images_(images),
      next_(begin),
      end_(end),
      batch_(batch),
      border_px_(border_px),
      preprocess_(context.preprocess) {
  require(batch > 0, "a batch has at least one row");
  const int threads = context.threads > 0 ? context.threads : available_threads();
  workers_.resize(static_cast<std::size_t>(std::min<std::int64_t>(threads, batch)));
  start();
}

ImageBatches::~ImageBatches() = default;

void ImageBatches::start() {
  if (done()) return;
  ahead_ = std::async(std::launch::async, [this, first = next_] { return decode(first); });
}

ImageBatch ImageBatches::next() {
  require(!done(), "no batch is left");
  ImageBatch batch = ahead_.get();
  next_ += batch.rows;
  start();
  return batch;
}

ImageBatch ImageBatches::decode(std::int64_t first) {
  ImageBatch batch;
  batch.first = first;
  batch.rows = std::min(batch_, end_ - first);
  batch.refused.resize(static_cast<std::size_t>(batch.rows));
  batch.pixels_BHWC =
      torch::zeros({batch_, preprocess_.height, preprocess_.width, 3}, torch::kByte);
  const auto image_bytes = static_cast<std::size_t>(preprocess_.height) *
                           static_cast<std::size_t>(preprocess_.width) * 3;
  auto* const pixels = batch.pixels_BHWC.data_ptr<std::uint8_t>();
  std::atomic<std::int64_t> row{0};
  parallel_for(std::ssize(workers_), static_cast<int>(workers_.size()), [&](std::int64_t w) {
    Worker& worker = workers_[static_cast<std::size_t>(w)];
    for (std::int64_t i = row++; i < batch.rows; i = row++) {
      const std::vector<std::uint8_t> bytes =
          read_image_bytes(images_[static_cast<std::size_t>(first + i)]);
      if (const auto bad = worker.decoder.decode(bytes, worker.image)) {
        batch.refused[static_cast<std::size_t>(i)] = bad->message.empty() ? "bad" : bad->message;
        continue;
      }
      const auto place = static_cast<std::size_t>(i) * image_bytes;
      eval_transform(crop_border(worker.image, border_px_, worker.inner), preprocess_,
                     {pixels + place, image_bytes}, worker.scratch);
    }
  });
  return batch;
}

at::Tensor encode_batch(const ImageBatch& batch, EvalContext& context, bool normalise) {
  const at::Tensor pixels_BCHW =
      preprocess_image(batch.pixels_BHWC.to(context.device), context.preprocess);
  return context.model.encode_image(pixels_BCHW, normalise)
      .narrow(0, 0, batch.rows)
      .to(torch::kFloat);
}

}  // namespace plumbline
