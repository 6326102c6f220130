#include "image/colour.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/philox.h"

namespace plumbline {
namespace {

constexpr int kSmallImage = 32;

struct Hsv {
  float h, s, v;  // h in turns, [0, 1)
};

Hsv to_hsv(float r, float g, float b) {
  const float v = std::max({r, g, b});
  const float range = v - std::min({r, g, b});
  if (range <= 0) return {0, 0, v};
  float sixth = 0;
  if (v == r) {
    sixth = (g - b) / range;
  } else if (v == g) {
    sixth = 2 + (b - r) / range;
  } else {
    sixth = 4 + (r - g) / range;
  }
  const float h = sixth / 6;
  return {h < 0 ? h + 1 : h, range / v, v};
}

/// Each channel falls off with the distance of the hue from the channel's own sextant.
void to_rgb(const Hsv& hsv, float* rgb) {
  const float chroma = hsv.s * hsv.v;
  const float sixth = hsv.h * 6;
  const float red = std::clamp(std::fabs(sixth - 3) - 1, 0.0f, 1.0f);
  const float green = std::clamp(2 - std::fabs(sixth - 2), 0.0f, 1.0f);
  const float blue = std::clamp(2 - std::fabs(sixth - 4), 0.0f, 1.0f);
  rgb[0] = hsv.v - chroma * (1 - red);
  rgb[1] = hsv.v - chroma * (1 - green);
  rgb[2] = hsv.v - chroma * (1 - blue);
}

void clip(std::span<float> rgb) {
  for (float& v : rgb) v = std::clamp(v, 0.0f, 1.0f);
}

template <typename Change>
void change_hsv(std::span<float> rgb, const Change& change) {
  for (std::size_t i = 0; i + 2 < rgb.size(); i += 3) {
    Hsv hsv = to_hsv(rgb[i], rgb[i + 1], rgb[i + 2]);
    change(hsv);
    to_rgb(hsv, &rgb[i]);
  }
  clip(rgb);
}

float between(std::uint64_t bits, double from, double to) {
  return static_cast<float>(from + (to - from) * unit_double(bits));
}

std::uint64_t low(const Words& w) { return join(w[0], w[1]); }
std::uint64_t high(const Words& w) { return join(w[2], w[3]); }

void jitter(std::uint64_t stream, std::uint64_t order, double strength, std::span<float> rgb) {
  const double spread = 0.8 * strength;
  const Words first = draw(stream, 2);
  const Words second = draw(stream, 3);
  const double least = std::max(1 - spread, 0.0);
  for (const int operation : order_of_four(order)) {
    switch (operation) {
      case 0:
        adjust_brightness(rgb, between(low(first), least, 1 + spread));
        break;
      case 1:
        adjust_contrast(rgb, between(high(first), least, 1 + spread));
        break;
      case 2:
        adjust_saturation(rgb, between(low(second), least, 1 + spread));
        break;
      default:
        adjust_hue(rgb, between(high(second), -0.2 * strength, 0.2 * strength));
        break;
    }
  }
}

std::vector<float> gaussian(int radius, double sigma) {
  std::vector<float> weights(static_cast<std::size_t>(2 * radius + 1));
  double sum = 0;
  for (int i = -radius; i <= radius; ++i) sum += std::exp(-i * i / (2 * sigma * sigma));
  for (int i = -radius; i <= radius; ++i) {
    weights[static_cast<std::size_t>(i + radius)] =
        static_cast<float>(std::exp(-i * i / (2 * sigma * sigma)) / sum);
  }
  return weights;
}

/// to[line + i * step] = sum_j w[j] * from[line + (i + j - radius) * step], zero outside [0,
/// count).
void blur_line(const float* from, float* to, int count, std::ptrdiff_t step,
               const std::vector<float>& weights) {
  const int radius = static_cast<int>(weights.size() / 2);
  for (int i = 0; i < count; ++i) {
    float sum = 0;
    for (int j = std::max(-radius, -i); j <= std::min(radius, count - 1 - i); ++j) {
      sum += weights[static_cast<std::size_t>(j + radius)] * from[(i + j) * step];
    }
    to[i * step] = sum;
  }
}

}  // namespace

std::array<int, 4> order_of_four(std::uint64_t number) {
  std::array<int, 4> order = {0, 1, 2, 3};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::size_t choices = 4 - i;
    std::swap(order[i], order[i + number % choices]);
    number /= choices;
  }
  return order;
}

void flip_left_right(int height, int width, std::span<std::uint8_t> pixels) {
  const auto stride = static_cast<std::size_t>(width) * 3;
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
    std::uint8_t* left = pixels.data() + y * stride;
    for (std::uint8_t* right = left + stride - 3; left < right; left += 3, right -= 3) {
      std::swap_ranges(left, left + 3, right);
    }
  }
}

void adjust_brightness(std::span<float> rgb, float factor) {
  for (float& v : rgb) v *= factor;
  clip(rgb);
}

void adjust_contrast(std::span<float> rgb, float factor) {
  std::array<double, 3> sum = {0, 0, 0};
  for (std::size_t i = 0; i < rgb.size(); ++i) sum[i % 3] += rgb[i];
  const double pixels = static_cast<double>(rgb.size()) / 3;
  std::array<float, 3> mean{};
  for (std::size_t c = 0; c < 3; ++c) mean[c] = static_cast<float>(sum[c] / pixels);
  for (std::size_t i = 0; i < rgb.size(); ++i) {
    rgb[i] = (rgb[i] - mean[i % 3]) * factor + mean[i % 3];
  }
  clip(rgb);
}

void adjust_saturation(std::span<float> rgb, float factor) {
  change_hsv(rgb, [factor](Hsv& hsv) { hsv.s = std::clamp(hsv.s * factor, 0.0f, 1.0f); });
}

void adjust_hue(std::span<float> rgb, float turn) {
  change_hsv(rgb, [turn](Hsv& hsv) {
    hsv.h += turn;
    hsv.h -= std::floor(hsv.h);
  });
}

void make_grey(std::span<float> rgb) {
  for (std::size_t i = 0; i + 2 < rgb.size(); i += 3) {
    const float grey = 0.2989f * rgb[i] + 0.5870f * rgb[i + 1] + 0.1140f * rgb[i + 2];
    rgb[i] = rgb[i + 1] = rgb[i + 2] = grey;
  }
}

void gaussian_blur(std::span<float> rgb, int height, int width, int side, double sigma,
                   std::span<float> scratch) {
  const std::vector<float> weights = gaussian(side / 2, sigma);
  const std::ptrdiff_t stride = std::ptrdiff_t{3} * width;
  for (std::ptrdiff_t i = 0; i < stride; ++i) {
    blur_line(rgb.data() + i, scratch.data() + i, height, stride, weights);
  }
  for (std::ptrdiff_t y = 0; y < height; ++y) {
    for (std::ptrdiff_t c = 0; c < 3; ++c) {
      const std::ptrdiff_t at = y * stride + c;
      blur_line(scratch.data() + at, rgb.data() + at, width, 3, weights);
    }
  }
}

void simclr_colour(std::uint64_t stream, int height, int width, std::span<std::uint8_t> pixels_HWC,
                   std::vector<float>& scratch) {
  const bool small = height <= kSmallImage;
  const Words first = draw(stream, 0);
  const Words second = draw(stream, 1);
  const Words blur = draw(stream, 4);
  if (unit_double(low(first)) < 0.5) flip_left_right(height, width, pixels_HWC);
  const std::size_t size = pixels_HWC.size();
  scratch.resize(2 * size);
  const std::span<float> rgb(scratch.data(), size);
  for (std::size_t i = 0; i < size; ++i) rgb[i] = static_cast<float>(pixels_HWC[i]) / 255.0f;
  if (unit_double(high(first)) < 0.8) {
    jitter(stream, scale_to(low(second), 24), small ? 0.5 : 1.0, rgb);
  }
  if (unit_double(high(second)) < 0.2) make_grey(rgb);
  if (!small && unit_double(low(blur)) < 0.5) {
    gaussian_blur(rgb, height, width, height / 10, 0.1 + 1.9 * unit_double(high(blur)),
                  std::span<float>(scratch).subspan(size));
  }
  for (std::size_t i = 0; i < size; ++i) {
    pixels_HWC[i] =
        static_cast<std::uint8_t>(std::nearbyint(std::clamp(rgb[i], 0.0f, 1.0f) * 255.0f));
  }
}

}  // namespace plumbline
