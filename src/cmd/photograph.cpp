#include "cmd/photograph.h"

#include <algorithm>
#include <vector>

#include "core/philox.h"

namespace plumbline {
namespace {

struct Plane {
  int width, height;
  std::vector<double> values;
};

/// Adds bilinear noise on a grid of `cells` cells along the short side.
void add_octave(std::uint64_t stream, int cells, double amplitude, Plane& plane) {
  const double scale = static_cast<double>(cells) / std::min(plane.width, plane.height);
  const int columns = static_cast<int>((plane.width - 1) * scale) + 2;
  const int rows = static_cast<int>((plane.height - 1) * scale) + 2;
  std::vector<double> grid;
  grid.reserve(static_cast<std::size_t>(rows * columns));
  for (int i = 0; i < rows * columns; ++i) {
    grid.push_back(amplitude * (draw(stream, static_cast<std::uint32_t>(i))[0] * 0x1p-31 - 1));
  }
  double* out = plane.values.data();
  for (int y = 0; y < plane.height; ++y) {
    const int row = static_cast<int>(y * scale);
    const double v = y * scale - row;
    for (int x = 0; x < plane.width; ++x, ++out) {
      const int column = static_cast<int>(x * scale);
      const double u = x * scale - column;
      const double* top = &grid[static_cast<std::size_t>(row * columns + column)];
      const double* bottom = top + columns;
      *out += (1 - v) * ((1 - u) * top[0] + u * top[1]) + v * ((1 - u) * bottom[0] + u * bottom[1]);
    }
  }
}

}  // namespace

Image photograph(std::uint64_t number, int width, int height) {
  const auto pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  std::vector<Plane> planes(3, Plane{width, height, std::vector<double>(pixels)});
  for (std::uint64_t plane = 0; plane < 3; ++plane) {
    double amplitude = plane == 0 ? 90 : 35;
    const double falloff = plane == 0 ? 0.70 : 0.5;
    for (int cells = 2; cells <= std::min(width, height); cells *= 2, amplitude *= falloff) {
      const std::uint64_t x = number * 4096 + plane * 1024 + static_cast<std::uint64_t>(cells);
      add_octave(derive(1, Purpose::synthetic, x), cells, amplitude, planes[plane]);
    }
  }
  Image image{width, height, std::vector<std::uint8_t>(3 * pixels)};
  for (std::size_t i = 0; i < pixels; ++i) {
    const double y = 120 + planes[0].values[i];
    const double red = planes[1].values[i], blue = planes[2].values[i];
    const double colours[3] = {y + red, y - 0.5 * red - 0.2 * blue, y + blue};
    for (std::size_t c = 0; c < 3; ++c) {
      image.pixels_HWC[3 * i + c] = static_cast<std::uint8_t>(std::clamp(colours[c], 0.0, 255.0));
    }
  }
  return image;
}

}  // namespace plumbline
