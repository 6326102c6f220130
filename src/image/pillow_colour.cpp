#include "image/pillow_colour.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/philox.h"
#include "image/colour.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// ITU-R 601 luma in 16 bit fixed point (Pillow's "L").
std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000u) >>
                                   16);
}

/// from + factor * (value - from) in float32, clipped and cut off: Pillow's Image.blend.
std::uint8_t blend(int from, int value, float factor) {
  const float out = static_cast<float>(from) + factor * static_cast<float>(value - from);
  return out <= 0 ? 0 : out >= 255 ? 255 : static_cast<std::uint8_t>(out);
}

std::uint8_t clip8(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

/// Pillow's 8-bit HSV: the float hue and saturation of Python's colorsys, times 255, cut off.
std::array<std::uint8_t, 3> to_hsv8(const std::uint8_t* rgb) {
  const std::uint8_t most = std::max({rgb[0], rgb[1], rgb[2]});
  const std::uint8_t least = std::min({rgb[0], rgb[1], rgb[2]});
  if (most == least) return {0, 0, most};
  const auto range = static_cast<float>(most - least);
  const float saturation = range / static_cast<float>(most);
  const float r = static_cast<float>(most - rgb[0]) / range;
  const float g = static_cast<float>(most - rgb[1]) / range;
  const float b = static_cast<float>(most - rgb[2]) / range;
  float hue = 0;
  if (rgb[0] == most) {
    hue = b - g;
  } else if (rgb[1] == most) {
    hue = static_cast<float>(2.0 + static_cast<double>(r) - static_cast<double>(b));
  } else {
    hue = static_cast<float>(4.0 + static_cast<double>(g) - static_cast<double>(r));
  }
  hue = static_cast<float>(std::fmod(static_cast<double>(hue) / 6.0 + 1.0, 1.0));
  return {clip8(static_cast<int>(static_cast<double>(hue) * 255.0)),
          clip8(static_cast<int>(static_cast<double>(saturation) * 255.0)), most};
}

void from_hsv8(const std::array<std::uint8_t, 3>& hsv, std::uint8_t* rgb) {
  const std::uint8_t v = hsv[2];
  if (hsv[1] == 0) {
    rgb[0] = rgb[1] = rgb[2] = v;
    return;
  }
  const double sextant = std::floor(static_cast<double>(hsv[0]) * 6.0 / 255.0);
  const auto rest = static_cast<float>(static_cast<double>(hsv[0]) * 6.0 / 255.0 - sextant);
  const auto saturation = static_cast<float>(static_cast<double>(hsv[1]) / 255.0);
  const auto at = [v](double share) {
    return clip8(static_cast<int>(std::round(static_cast<double>(v) * share)));
  };
  const std::uint8_t p = at(1.0 - static_cast<double>(saturation));
  const std::uint8_t q = at(1.0 - static_cast<double>(saturation * rest));
  const std::uint8_t t =
      at(1.0 - static_cast<double>(saturation) * (1.0 - static_cast<double>(rest)));
  const std::array<std::array<std::uint8_t, 3>, 6> faces = {
      {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}}};
  std::ranges::copy(faces[static_cast<std::size_t>(sextant) % 6], rgb);
}

double between(std::uint64_t bits, double from, double to) {
  return from + (to - from) * unit_double(bits);
}

std::uint64_t low(const Words& w) { return join(w[0], w[1]); }
std::uint64_t high(const Words& w) { return join(w[2], w[3]); }

void jitter(std::uint64_t stream, std::uint64_t order, const std::vector<double>& spread,
            std::span<std::uint8_t> rgb) {
  const Words first = draw(stream, 2);
  const Words second = draw(stream, 3);
  const auto factor = [](std::uint64_t bits, double x) {
    return between(bits, std::max(0.0, 1 - x), 1 + x);
  };
  for (const int operation : order_of_four(order)) {
    if (spread[static_cast<std::size_t>(operation)] == 0) continue;
    switch (operation) {
      case 0:
        pillow_brightness(rgb, factor(low(first), spread[0]));
        break;
      case 1:
        pillow_contrast(rgb, factor(high(first), spread[1]));
        break;
      case 2:
        pillow_saturation(rgb, factor(low(second), spread[2]));
        break;
      default:
        pillow_hue(rgb, between(high(second), -spread[3], spread[3]));
        break;
    }
  }
}

}  // namespace

void pillow_brightness(std::span<std::uint8_t> rgb, double factor) {
  for (std::uint8_t& v : rgb) v = blend(0, v, static_cast<float>(factor));
}

void pillow_contrast(std::span<std::uint8_t> rgb, double factor) {
  double sum = 0;
  for (std::size_t i = 0; i + 2 < rgb.size(); i += 3) sum += luma(&rgb[i]);
  const int mean = static_cast<int>(sum / (static_cast<double>(rgb.size()) / 3) + 0.5);
  for (std::uint8_t& v : rgb) v = blend(mean, v, static_cast<float>(factor));
}

void pillow_saturation(std::span<std::uint8_t> rgb, double factor) {
  for (std::size_t i = 0; i + 2 < rgb.size(); i += 3) {
    const int grey = luma(&rgb[i]);
    for (std::size_t c = 0; c < 3; ++c) {
      rgb[i + c] = blend(grey, rgb[i + c], static_cast<float>(factor));
    }
  }
}

void pillow_hue(std::span<std::uint8_t> rgb, double turn) {
  const auto shift = static_cast<std::uint8_t>(static_cast<int>(turn * 255));
  for (std::size_t i = 0; i + 2 < rgb.size(); i += 3) {
    std::array<std::uint8_t, 3> hsv = to_hsv8(&rgb[i]);
    hsv[0] = static_cast<std::uint8_t>(hsv[0] + shift);  // wraps
    from_hsv8(hsv, &rgb[i]);
  }
}

void pillow_grey(std::span<std::uint8_t> rgb) {
  for (std::size_t i = 0; i + 2 < rgb.size(); i += 3) {
    rgb[i] = rgb[i + 1] = rgb[i + 2] = luma(&rgb[i]);
  }
}

void crop_colour(std::uint64_t stream, const TrainTransformOptions& options, int height, int width,
                 std::span<std::uint8_t> pixels_HWC) {
  require(options.color_jitter.empty() || options.color_jitter.size() == 4,
          "color_jitter: four spreads or none");
  const Words first = draw(stream, 0);
  const Words second = draw(stream, 1);
  if (unit_double(low(first)) < options.flip) flip_left_right(height, width, pixels_HWC);
  if (!options.color_jitter.empty() && unit_double(high(first)) < options.color_jitter_prob) {
    jitter(stream, scale_to(low(second), 24), options.color_jitter, pixels_HWC);
  }
  if (unit_double(high(second)) < options.gray_scale_prob) pillow_grey(pixels_HWC);
}

}  // namespace plumbline
