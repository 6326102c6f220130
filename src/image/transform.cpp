// What happens to a decoded image before the model: the families' options, the transforms of
// evaluation and training, normalisation, and all of it for one file.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/file.h"
#include "image/colour.h"
#include "image/pillow_colour.h"
#include "image/position.h"
#include "image/resample.h"
#include "kernels/preprocess_image/preprocess_image.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

struct Size {
  int width, height;
};

int rounded(double x) { return static_cast<int>(std::nearbyint(x)); }  // half to even, as Python

/// torchvision's Resize(s): the short side becomes s, the long one int(s * long / short).
Size short_side_to(const Size& image, int s) {
  const auto scaled = [s](int longer, int shorter) {
    return static_cast<int>(static_cast<double>(std::int64_t{s} * longer) / shorter);
  };
  if (image.width <= image.height) return {s, scaled(image.height, image.width)};
  return {scaled(image.width, image.height), s};
}

/// OpenCLIP's ResizeKeepRatio; a very long image keeps at least one pixel across.
Size divide_by(const Size& image, double ratio) {
  return {std::max(rounded(image.width / ratio), 1), std::max(rounded(image.height / ratio), 1)};
}

Size resized_size(const Size& image, const PreprocessOptions& o) {
  const double down = static_cast<double>(image.height) / o.height;
  const double across = static_cast<double>(image.width) / o.width;
  switch (o.mode) {
    case ResizeMode::squash:
      return {o.width, o.height};
    case ResizeMode::longest:
      return divide_by(image, std::max(down, across));
    case ResizeMode::shortest:
      if (o.width == o.height) return short_side_to(image, o.width);
      return divide_by(image, std::min(down, across));
  }
  throw InternalError("eval_transform: a mode without a case");
}

/// OpenCLIP resizes to a size that is not square by bicubic, whatever the filter.
Filter eval_filter(const PreprocessOptions& o) {
  const bool always_cubic = o.mode == ResizeMode::shortest && o.width != o.height;
  return always_cubic ? Filter::bicubic : o.filter;
}

/// How `size` resized samples come to lie on `target` ones: cropped at round((d - s) / 2), or
/// padded by the floor of half before them.
struct Placement {
  int from, to, count;
};
Placement centred(int size, int target) {
  if (size >= target) return {rounded((size - target) / 2.0), 0, target};
  return {0, (target - size) / 2, size};
}

void require_size(const PreprocessOptions& o, std::span<std::uint8_t> out) {
  require(o.width > 0 && o.height > 0, "image transform: the result has no pixels");
  require(out.size() >= static_cast<std::size_t>(o.width) * static_cast<std::size_t>(o.height) * 3,
          "image transform: the output is too small");
}

/// The crop of one view; `simclr` has its own recipe.
Box random_crop(int width, int height, const TrainTransformOptions& train, std::uint64_t seed,
                std::uint64_t g, int view) {
  if (train.mode != "simclr") return random_resized_crop(width, height, train, seed, g, view);
  TrainTransformOptions options;
  options.scale = {0.08, 1.0};
  options.views = train.views;
  return random_resized_crop(width, height, options, seed, g, view);
}

PreprocessOptions with(int size, const std::array<float, 3>& mean, const std::array<float, 3>& std,
                       Filter filter, ResizeMode mode) {
  PreprocessOptions o;
  o.height = o.width = size;
  o.mean = mean;
  o.std = std;
  o.filter = filter;
  o.mode = mode;
  return o;
}

}  // namespace

PreprocessOptions preprocess_family(const std::string& family, int size) {
  if (size <= 0) throw UsageError(str("image size ", size, ": must be at least 1"));
  PreprocessOptions openai;
  openai.height = openai.width = size;
  if (family == "openai") return openai;
  if (family == "siglip" || family == "siglip2") {
    const std::array<float, 3> half = {0.5f, 0.5f, 0.5f};
    return with(size, half, half, Filter::bicubic, ResizeMode::squash);
  }
  if (family == "clipa") {
    return with(size, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}, Filter::bilinear,
                ResizeMode::squash);
  }
  throw UsageError("unknown preprocessing family '" + family +
                   "' (known: openai, siglip, siglip2, clipa)");
}

Box eval_part(int width, int height, const PreprocessOptions& o) {
  const Size size = resized_size({width, height}, o);
  const Placement x = centred(size.width, o.width);
  const Placement y = centred(size.height, o.height);
  const Filter filter = eval_filter(o);
  const Taps columns = samples_read({width, size.width, x.from, x.count}, filter);
  const Taps rows = samples_read({height, size.height, y.from, y.count}, filter);
  return {columns.first, rows.first, columns.count, rows.count};
}

void eval_transform(const Image& image, const PreprocessOptions& o, std::span<std::uint8_t> out_HWC,
                    ResizeScratch& scratch) {
  require_size(o, out_HWC);
  require(image.width > 0 && image.height > 0, "eval_transform of an empty image");
  const Size size = resized_size({image.width, image.height}, o);
  const Placement x = centred(size.width, o.width);
  const Placement y = centred(size.height, o.height);
  const std::ptrdiff_t stride = std::ptrdiff_t{3} * o.width;
  if (x.count < o.width || y.count < o.height) {
    std::ranges::fill(out_HWC, static_cast<std::uint8_t>(std::clamp(o.fill, 0, 255)));
  }
  const auto offset = static_cast<std::size_t>(y.to * stride + std::ptrdiff_t{3} * x.to);
  resize_window(image, {0, 0, image.width, image.height}, size.width, size.height,
                {x.from, y.from, x.count, y.count}, eval_filter(o), o.order,
                out_HWC.subspan(offset), stride, scratch);
}

Box train_part(int width, int height, const TrainTransformOptions& train,
               const PreprocessOptions& o, std::uint64_t seed, std::uint64_t g) {
  if (train.mode == "eval") return eval_part(width, height, o);
  Box part = random_crop(width, height, train, seed, g, 0);
  for (int view = 1; view < train.views; ++view) {
    const Box box = random_crop(width, height, train, seed, g, view);
    const int right = std::max(part.left + part.width, box.left + box.width);
    const int bottom = std::max(part.top + part.height, box.top + box.height);
    part.left = std::min(part.left, box.left);
    part.top = std::min(part.top, box.top);
    part.width = right - part.left;
    part.height = bottom - part.top;
  }
  return part;
}

void train_transform(const Image& image, const TrainTransformOptions& train,
                     const PreprocessOptions& o, std::uint64_t seed, std::uint64_t g, int view,
                     std::span<std::uint8_t> out_HWC, ResizeScratch& scratch) {
  require_size(o, out_HWC);
  if (train.mode == "eval") return eval_transform(image, o, out_HWC, scratch);
  const bool simclr = train.mode == "simclr";
  if (!simclr && train.mode != "crop") {
    throw UsageError("unknown train_transform.mode '" + train.mode +
                     "' (known: crop, eval, simclr)");
  }
  const Box box = random_crop(image.width, image.height, train, seed, g, view);
  resize(image, box, o.width, o.height, Filter::bicubic, o.order, out_HWC, scratch);
  const std::size_t size = static_cast<std::size_t>(o.width) * static_cast<std::size_t>(o.height);
  const std::span<std::uint8_t> pixels = out_HWC.first(size * 3);
  const std::uint64_t stream = view_stream(seed, Purpose::colour, g, view, train.views);
  if (simclr) {
    simclr_colour(stream, o.height, o.width, pixels, scratch.state().colour);
  } else {
    crop_colour(stream, train, o.height, o.width, pixels);
  }
}

void normalise(std::span<const std::uint8_t> pixels_HWC, int height, int width,
               const std::array<float, 3>& mean, const std::array<float, 3>& std,
               std::span<float> out_CHW) {
  const auto values =
      std::size_t{3} * static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  require(pixels_HWC.size() >= values && out_CHW.size() >= values,
          "normalise: fewer values than height * width * 3");
  PreprocessImageParams p;
  p.pixels_BHWC = pixels_HWC.data();
  p.out_BCHW = out_CHW.data();
  p.batch = 1;
  p.height = height;
  p.width = width;
  p.mean = mean;
  p.std = std;
  cpu::preprocess_image(p);
}

std::vector<float> preprocess_file(const std::string& path, const PreprocessOptions& options,
                                   const std::optional<TrainPosition>& train) {
  const std::string bytes = read_file(path);
  Image image;
  ImageDecoder decoder;
  const std::span<const std::uint8_t> encoded(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                              bytes.size());
  if (const auto bad = decoder.decode(encoded, image)) {
    throw DataError(str(path, ": ", bad->message, " (", name_of(bad->reason), ")"));
  }
  const std::size_t values = std::size_t{3} * static_cast<std::size_t>(options.height) *
                             static_cast<std::size_t>(options.width);
  std::vector<std::uint8_t> pixels(values);
  std::vector<float> out(values);
  ResizeScratch scratch;
  if (train) {
    train_transform(image, train->transform, options, train->seed, train->g, train->view, pixels,
                    scratch);
  } else {
    eval_transform(image, options, pixels, scratch);
  }
  normalise(pixels, options.height, options.width, options.mean, options.std, out);
  return out;
}

}  // namespace plumbline
