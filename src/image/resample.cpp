// Weights of a pass and the scalar reference passes (Pillow's Resample.c, restated).
#include "image/resample.h"

#include <algorithm>
#include <cmath>

namespace plumbline {
namespace {

/// Keys' cubic convolution, a = -0.5; Pillow's order of operations, which decides the last bit.
double cubic(double x) {
  constexpr double kA = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0.0;
}

double triangle(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

std::int32_t fixed_point(double weight) {
  constexpr double kOne = 1 << kWeightBits;
  return static_cast<std::int32_t>(weight * kOne + (weight < 0 ? -0.5 : 0.5));
}

struct Scaling {
  double scale, filter_scale, support;
};

Scaling scaling_of(const Axis& axis, Filter filter) {
  const double scale = static_cast<double>(axis.in) / axis.out;
  const double filter_scale = std::max(scale, 1.0);
  return {scale, filter_scale, (filter == Filter::bicubic ? 2.0 : 1.0) * filter_scale};
}

Taps taps_of(const Scaling& s, double center, int in) {
  const int first = std::max(static_cast<int>(center - s.support + 0.5), 0);
  const int end = std::min(static_cast<int>(center + s.support + 0.5), in);
  return {first, end - first};
}

/// Normalised weights of one output, in double, to `weights[0, taps.count)`.
void weigh(const Scaling& s, double center, const Taps& taps, Filter filter, double* weights) {
  const double inverse = 1.0 / s.filter_scale;
  double sum = 0;
  for (int i = 0; i < taps.count; ++i) {
    const double x = (i + taps.first - center + 0.5) * inverse;
    weights[i] = filter == Filter::bicubic ? cubic(x) : triangle(x);
    sum += weights[i];
  }
  if (sum == 0) return;
  for (int i = 0; i < taps.count; ++i) weights[i] /= sum;
}

std::uint8_t clip8(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

constexpr std::int32_t kHalf = 1 << (kWeightBits - 1);

}  // namespace

Taps samples_read(const Axis& axis, Filter filter) {
  if (axis.in == axis.out) return {axis.first_out, axis.outputs};
  const Scaling s = scaling_of(axis, filter);
  const int last_out = axis.first_out + axis.outputs - 1;
  const Taps first = taps_of(s, (axis.first_out + 0.5) * s.scale, axis.in);
  const Taps last = taps_of(s, (last_out + 0.5) * s.scale, axis.in);
  return {first.first, last.first + last.count - first.first};
}

void fill_pass(const Axis& axis, Filter filter, ResizePass& pass) {
  const std::array<int, 5> key = {axis.in, axis.out, axis.first_out, axis.outputs,
                                  filter == Filter::bicubic ? 1 : 0};
  if (pass.made_for == key) return;
  pass.made_for = {};
  pass.split.clear();
  pass.blocks.clear();
  pass.parts.clear();
  const Scaling s = scaling_of(axis, filter);
  pass.stride = (static_cast<int>(std::ceil(s.support)) * 2 + 1 + 3) / 4 * 4;
  const auto outputs = static_cast<std::size_t>(axis.outputs);
  const auto stride = static_cast<std::size_t>(pass.stride);
  pass.taps.resize(outputs);
  pass.weights.assign(outputs * stride, 0);
  pass.exact.resize(stride);
  pass.first_in = axis.in;
  pass.last_in = 0;
  for (std::size_t x = 0; x < outputs; ++x) {
    const double center = (axis.first_out + static_cast<int>(x) + 0.5) * s.scale;
    const Taps taps = taps_of(s, center, axis.in);
    weigh(s, center, taps, filter, pass.exact.data());
    for (int i = 0; i < taps.count; ++i) {
      pass.weights[x * stride + static_cast<std::size_t>(i)] =
          fixed_point(pass.exact[static_cast<std::size_t>(i)]);
    }
    pass.taps[x] = taps;
    pass.first_in = std::min(pass.first_in, taps.first);
    pass.last_in = std::max(pass.last_in, taps.first + taps.count);
  }
  for (Taps& taps : pass.taps) taps.first -= pass.first_in;
  pass.made_for = key;
}

bool fill_split(ResizePass& pass) {
  if (!pass.split.empty()) return true;
  if (pass.stride > kMaxSplitTaps) return false;
  pass.split.resize(pass.weights.size() * 2);
  for (std::size_t i = 0; i < pass.weights.size(); i += 2) {
    for (std::size_t j = 0; j < 2; ++j) {
      const std::int32_t k = pass.weights[i + j];
      pass.split[2 * i + j] = static_cast<std::int16_t>(k >> 15);
      pass.split[2 * i + 2 + j] = static_cast<std::int16_t>(k & 0x7fff);
    }
  }
  return true;
}

void horizontal_row_scalar(const ResizePass& pass, const std::uint8_t* row, std::size_t from,
                           std::size_t to, std::uint8_t* out) {
  for (std::size_t x = from; x < to; ++x) {
    const std::int32_t* k = pass.weights.data() + x * static_cast<std::size_t>(pass.stride);
    const std::uint8_t* v = row + std::ptrdiff_t{3} * pass.taps[x].first;
    std::int32_t red = kHalf;
    std::int32_t green = kHalf;
    std::int32_t blue = kHalf;
    for (int i = 0; i < pass.taps[x].count; ++i, v += 3) {
      red += k[i] * v[0];
      green += k[i] * v[1];
      blue += k[i] * v[2];
    }
    out[3 * x] = clip8(red);
    out[3 * x + 1] = clip8(green);
    out[3 * x + 2] = clip8(blue);
  }
}

void horizontal_scalar(const ResizePass& pass, const Pixels& in, int rows, std::uint8_t* out,
                       std::ptrdiff_t out_stride) {
  for (int y = 0; y < rows; ++y) {
    horizontal_row_scalar(pass, in.data + y * in.stride, 0, pass.taps.size(), out + y * out_stride);
  }
}

void vertical_scalar(const ResizePass& pass, const Pixels& in, int bytes, std::uint8_t* out,
                     std::ptrdiff_t out_stride) {
  for (std::size_t y = 0; y < pass.taps.size(); ++y) {
    const std::int32_t* k = pass.weights.data() + y * static_cast<std::size_t>(pass.stride);
    const std::uint8_t* column = in.data + pass.taps[y].first * in.stride;
    std::uint8_t* to = out + static_cast<std::ptrdiff_t>(y) * out_stride;
    for (int x = 0; x < bytes; ++x) {
      std::int32_t sum = kHalf;
      for (int i = 0; i < pass.taps[y].count; ++i) sum += k[i] * column[i * in.stride + x];
      to[x] = clip8(sum);
    }
  }
}

}  // namespace plumbline
