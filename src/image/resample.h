// One pass of a separable resize in Pillow's fixed point. Internal to src/image.
//   weight  w_i = f((i - c + 0.5) / max(scale, 1)) / sum, c = (x + 0.5) * scale, in double
//   k_i     = w_i * 2^22, rounded half away from zero
//   out     = clip8((2^21 + sum k_i * v_i) >> 22)
// The scalar functions are the reference; the AVX2 and AVX-512 ones give the same bits.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "plumbline/image.h"

namespace plumbline {

inline constexpr int kWeightBits = 22;
/// AVX2 splits k = hi * 2^15 + lo; more taps than this could overflow the sum of the lo parts.
inline constexpr int kMaxSplitTaps = 256;
/// Bytes that a register of AVX-512 holds; a vertical pass needs at least so many a row.
inline constexpr int kAvx512Bytes = 64;

/// Rows of the image or columns of it: outputs [first_out, first_out + outputs) of a resize from
/// `in` to `out` samples.
struct Axis {
  int in, out;
  int first_out, outputs;
};

/// Input samples [first, first + count) of one output of a pass.
struct Taps {
  int first = 0, count = 0;
};

/// Adjacent outputs of a horizontal pass that AVX-512 makes together: at most five, whose three
/// channels fill lanes of a register, and whose first four taps lie in 64 bytes.
struct TapBlock {
  int first_out = 0, outputs = 0;
  int first_in = 0;       ///< counts from the first_in of the pass
  int groups = 0;         ///< of four taps
  int bytes = 0;          ///< of the row that are read, from first_in on
  std::size_t table = 0;  ///< where its part of `tables` begins
};

/// Weights of one pass of a resize, kept while the sizes stay the same.
struct ResizePass {
  std::array<int, 5> made_for = {};   ///< in, out, first output, outputs, filter
  std::vector<Taps> taps;             ///< one an output; `first` counts from first_in
  std::vector<double> exact;          ///< of one output
  std::vector<std::int32_t> weights;  ///< [outputs][stride], times 2^22; 0 past the taps
  std::vector<std::int16_t> split;    ///< [outputs][stride / 2][2 high, 2 low parts]
  int stride = 0;                     ///< a multiple of 4
  int first_in = 0, last_in = 0;      ///< the samples that are read
  // For AVX-512, made when first needed; a weight is then three signed bytes.
  std::vector<TapBlock> blocks;      ///< horizontal
  std::vector<std::uint8_t> tables;  ///< a block's [64 indices], [groups][3 parts][64 weights]
  std::vector<std::int8_t> parts;    ///< vertical: [outputs][stride / 4][3 parts][4 taps]
};

/// What ResizeScratch holds.
struct ResizeScratch::State {
  std::vector<std::uint8_t> between_passes;
  ResizePass horizontal, vertical;
  std::vector<float> colour;  ///< of `simclr`
};

/// The samples that the outputs of `axis` read.
[[nodiscard]] Taps samples_read(const Axis& axis, Filter filter);

/// Does nothing when `pass` was made for the same arguments.
void fill_pass(const Axis& axis, Filter filter, ResizePass& pass);

/// Pixels of three bytes; rows `stride` bytes apart. `end` is the end of readable memory.
struct Pixels {
  const std::uint8_t* data;
  std::ptrdiff_t stride;
  const std::uint8_t* end;
};

// A horizontal pass makes, for each of `rows` rows of `in`, whose pixel 0 is sample first_in,
// taps.size() pixels; a vertical one taps.size() rows of `bytes` bytes from columns of `in`, whose
// row 0 is sample first_in.

/// Outputs [from, to) of one row; the scalar rest of a vectorised row.
void horizontal_row_scalar(const ResizePass& pass, const std::uint8_t* row, std::size_t from,
                           std::size_t to, std::uint8_t* out);
void horizontal_scalar(const ResizePass& pass, const Pixels& in, int rows, std::uint8_t* out,
                       std::ptrdiff_t out_stride);
void vertical_scalar(const ResizePass& pass, const Pixels& in, int bytes, std::uint8_t* out,
                     std::ptrdiff_t out_stride);
/// Only where the processor has AVX2, only after fill_split() said true.
void horizontal_avx2(const ResizePass& pass, const Pixels& in, int rows, std::uint8_t* out,
                     std::ptrdiff_t out_stride);
void vertical_avx2(const ResizePass& pass, const Pixels& in, int bytes, std::uint8_t* out,
                   std::ptrdiff_t out_stride);

/// Lays the weights out for AVX2, as pmaddwd takes them: pairs (hi, hi, lo, lo) of adjacent taps;
/// false for a pass of more than kMaxSplitTaps taps.
[[nodiscard]] bool fill_split(ResizePass& pass);
/// Only where the processor has VNNI and VBMI, only after fill_blocks() or fill_parts() said true.
void horizontal_avx512(const ResizePass& pass, const Pixels& in, int rows, std::uint8_t* out,
                       std::ptrdiff_t out_stride);
void vertical_avx512(const ResizePass& pass, const Pixels& in, int bytes, std::uint8_t* out,
                     std::ptrdiff_t out_stride);
/// Lays the weights out for the passes with AVX-512; false when one of them is 2 or more, which no
/// filter here gives.
[[nodiscard]] bool fill_blocks(ResizePass& pass);
[[nodiscard]] bool fill_parts(ResizePass& pass);

enum class Simd { none, avx2, avx512 };
/// The best that this processor has.
[[nodiscard]] Simd best_simd();

/// Part of a resized image: the pixels [left, left + width) x [top, top + height) of it.
struct Window {
  int left, top, width, height;
};

/// As resize() of plumbline/image.h, but only `window` of the width x height result. `simd` is at
/// most best_simd(); less is for tests.
void resize_window(const Image& image, const Box& box, int width, int height, const Window& window,
                   Filter filter, ResizeOrder order, std::span<std::uint8_t> out_HWC,
                   std::ptrdiff_t out_stride, ResizeScratch& scratch, Simd simd = best_simd());

}  // namespace plumbline
