// The random crop of training: torchvision's RandomResizedCrop.get_params, in double, with the
// draws of Philox in place of torch's generator.
#include <algorithm>
#include <cmath>

#include "core/philox.h"
#include "image/position.h"
#include "plumbline/error.h"
#include "plumbline/image.h"

namespace plumbline {
namespace {

constexpr std::uint32_t kTrials = 10;

double uniform(std::uint64_t bits, double from, double to) {
  return from + (to - from) * unit_double(bits);
}

/// Run files say 1.3333 and mean 4/3.
double meant_ratio(double ratio) {
  constexpr double kFourThirds = 4.0 / 3.0;
  return std::fabs(ratio - kFourThirds) < 1e-4 ? kFourThirds : ratio;
}

/// When ten trials found no box: all of the image that the ratios allow, in its middle.
Box central_box(int width, int height, double low, double high) {
  Box box{0, 0, width, height};
  const double ratio = static_cast<double>(width) / height;
  if (ratio < low) {
    box.height = static_cast<int>(std::nearbyint(width / low));
  } else if (ratio > high) {
    box.width = static_cast<int>(std::nearbyint(height * high));
  }
  box.height = std::clamp(box.height, 1, height);
  box.width = std::clamp(box.width, 1, width);
  box.top = (height - box.height) / 2;
  box.left = (width - box.width) / 2;
  return box;
}

}  // namespace

std::uint64_t view_stream(std::uint64_t seed, Purpose purpose, std::uint64_t g, int view,
                          int views) {
  require(view >= 0 && view < std::max(views, 1), "a view that the transform does not have");
  const std::uint64_t x =
      views <= 1 ? g : static_cast<std::uint64_t>(views) * g + static_cast<std::uint64_t>(view);
  return derive(seed, purpose, x);
}

Box random_resized_crop(int width, int height, const TrainTransformOptions& options,
                        std::uint64_t seed, std::uint64_t g, int view) {
  require(width > 0 && height > 0, "random_resized_crop of an empty image");
  const std::uint64_t stream = view_stream(seed, Purpose::crop, g, view, options.views);
  const double low = meant_ratio(options.ratio[0]);
  const double high = meant_ratio(options.ratio[1]);
  const double area = static_cast<double>(height) * width;
  for (std::uint32_t trial = 0; trial < kTrials; ++trial) {
    const Words size = draw(stream, 2 * trial);
    const double target =
        area * uniform(join(size[0], size[1]), options.scale[0], options.scale[1]);
    const double ratio = std::exp(uniform(join(size[2], size[3]), std::log(low), std::log(high)));
    const double w = std::nearbyint(std::sqrt(target * ratio));  // half to even, as Python rounds
    const double h = std::nearbyint(std::sqrt(target / ratio));
    if (!(w > 0 && w <= width && h > 0 && h <= height)) continue;
    const Words place = draw(stream, 2 * trial + 1);
    const auto box_width = static_cast<int>(w);
    const auto box_height = static_cast<int>(h);
    const auto free_rows = static_cast<std::uint64_t>(height - box_height) + 1;
    const auto free_columns = static_cast<std::uint64_t>(width - box_width) + 1;
    return {static_cast<int>(scale_to(join(place[2], place[3]), free_columns)),
            static_cast<int>(scale_to(join(place[0], place[1]), free_rows)), box_width, box_height};
  }
  return central_box(width, height, low, high);
}

}  // namespace plumbline
