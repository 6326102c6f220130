// One pass of a separable resize in Pillow's fixed point. Internal to src/image.
//   weight  w_i = f((i - c + 0.5) / max(scale, 1)) / sum, c = (x + 0.5) * scale, in double
//   k_i     = w_i * 2^22, rounded half away from zero
//   out     = clip8((2^21 + sum k_i * v_i) >> 22)
// The scalar functions are the reference; the AVX2 ones give the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "plumbline/image.h"

namespace plumbline {

inline constexpr int kWeightBits = 22;
/// AVX2 splits k = hi * 2^15 + lo; more taps than this could overflow the sum of the lo parts.
inline constexpr int kMaxSplitTaps = 256;

/// Rows of the image or columns of it: outputs [first_out, first_out + outputs) of a resize from
/// `in` to `out` samples.
struct Axis {
  int in, out;
  int first_out, outputs;
};

/// Does nothing when `pass` was made for the same arguments.
void fill_pass(const Axis& axis, Filter filter, ResizePass& pass);

/// Pixels of three bytes; rows `stride` bytes apart. `end` is the end of readable memory.
struct Pixels {
  const std::uint8_t* data;
  std::ptrdiff_t stride;
  const std::uint8_t* end;
};

/// For each of `rows` rows of `in`, whose pixel 0 is sample first_in: taps.size() pixels.
using HorizontalPass = void (*)(const ResizePass& pass, const Pixels& in, int rows,
                                std::uint8_t* out, std::ptrdiff_t out_stride);
/// taps.size() rows of `bytes` bytes from columns of `in`, whose row 0 is sample first_in.
using VerticalPass = void (*)(const ResizePass& pass, const Pixels& in, int bytes,
                              std::uint8_t* out, std::ptrdiff_t out_stride);

/// Outputs [from, to) of one row; the scalar rest of a vectorised row.
void horizontal_row_scalar(const ResizePass& pass, const std::uint8_t* row, std::size_t from,
                           std::size_t to, std::uint8_t* out);
void horizontal_scalar(const ResizePass& pass, const Pixels& in, int rows, std::uint8_t* out,
                       std::ptrdiff_t out_stride);
void vertical_scalar(const ResizePass& pass, const Pixels& in, int bytes, std::uint8_t* out,
                     std::ptrdiff_t out_stride);
/// Only where the processor has AVX2, only for a pass of at most kMaxSplitTaps taps.
void horizontal_avx2(const ResizePass& pass, const Pixels& in, int rows, std::uint8_t* out,
                     std::ptrdiff_t out_stride);
void vertical_avx2(const ResizePass& pass, const Pixels& in, int bytes, std::uint8_t* out,
                   std::ptrdiff_t out_stride);

[[nodiscard]] bool has_avx2();

/// Part of a resized image: the pixels [left, left + width) x [top, top + height) of it.
struct Window {
  int left, top, width, height;
};

/// As resize() of plumbline/image.h, but only `window` of the width x height result. `simd` false
/// takes the scalar passes (for tests).
void resize_window(const Image& image, const Box& box, int width, int height, const Window& window,
                   Filter filter, ResizeOrder order, std::span<std::uint8_t> out_HWC,
                   std::ptrdiff_t out_stride, ResizeScratch& scratch, bool simd = true);

}  // namespace plumbline
