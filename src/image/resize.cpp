// Both passes of a resize, in Pillow's order, on the part of the result that is asked for.
#include <algorithm>
#include <cstring>

#include "image/resample.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// Chooses between the scalar passes, AVX2 and AVX-512.
struct Passes {
  ResizeScratch::State& scratch;
  Simd simd;

  void horizontal(const Pixels& in, int rows, std::uint8_t* out, std::ptrdiff_t stride) const {
    ResizePass& pass = scratch.horizontal;
    if (simd == Simd::avx512 && fill_blocks(pass)) {
      horizontal_avx512(pass, in, rows, out, stride);
    } else if (simd != Simd::none && fill_split(pass)) {
      horizontal_avx2(pass, in, rows, out, stride);
    } else {
      horizontal_scalar(pass, in, rows, out, stride);
    }
  }
  void vertical(const Pixels& in, int bytes, std::uint8_t* out, std::ptrdiff_t stride) const {
    ResizePass& pass = scratch.vertical;
    if (simd == Simd::avx512 && bytes >= kAvx512Bytes && fill_parts(pass)) {
      vertical_avx512(pass, in, bytes, out, stride);
    } else if (simd != Simd::none && fill_split(pass)) {
      vertical_avx2(pass, in, bytes, out, stride);
    } else {
      vertical_scalar(pass, in, bytes, out, stride);
    }
  }
};

Pixels pixel_at(const Image& image, int left, int top) {
  const std::ptrdiff_t stride = std::ptrdiff_t{3} * image.width;
  const std::uint8_t* data = image.pixels_HWC.data();
  return {data + top * stride + std::ptrdiff_t{3} * left, stride, data + image.pixels_HWC.size()};
}

void copy_rows(const Pixels& in, int rows, int bytes, std::uint8_t* out, std::ptrdiff_t stride) {
  for (int y = 0; y < rows; ++y) {
    std::memcpy(out + y * stride, in.data + y * in.stride, static_cast<std::size_t>(bytes));
  }
}

/// Room for `rows` rows of `pixels` pixels between the passes.
Pixels room_between(ResizeScratch::State& scratch, int rows, int pixels) {
  const std::ptrdiff_t stride = (std::ptrdiff_t{3} * pixels + 63) / 64 * 64;
  const auto bytes = static_cast<std::size_t>(stride * rows);
  if (scratch.between_passes.size() < bytes) scratch.between_passes.resize(bytes);
  return {scratch.between_passes.data(), stride,
          scratch.between_passes.data() + scratch.between_passes.size()};
}

/// Vertical first iff it shrinks the work by enough: the rule of Pillow >= 13.
bool vertical_first(const Box& box, int width, int height, ResizeOrder order) {
  return order == ResizeOrder::pillow13 && height < box.height &&
         box.height - height > 2 * (box.width - width);
}

void check_arguments(const Image& image, const Box& box, int width, int height,
                     const Window& window, std::size_t out_bytes, std::ptrdiff_t out_stride) {
  require(box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0 &&
              box.width <= image.width - box.left && box.height <= image.height - box.top,
          "resize: the box lies outside the image");
  require(window.left >= 0 && window.top >= 0 && window.width > 0 && window.height > 0 &&
              window.width <= width - window.left && window.height <= height - window.top,
          "resize: the window lies outside the result");
  const std::ptrdiff_t needed = out_stride * (window.height - 1) + std::ptrdiff_t{3} * window.width;
  require(out_stride >= std::ptrdiff_t{3} * window.width &&
              out_bytes >= static_cast<std::size_t>(needed),
          "resize: the output is too small");
}

}  // namespace

ResizeScratch::ResizeScratch() : state_(std::make_unique<State>()) {}
ResizeScratch::~ResizeScratch() = default;
ResizeScratch::ResizeScratch(ResizeScratch&&) noexcept = default;
ResizeScratch& ResizeScratch::operator=(ResizeScratch&&) noexcept = default;

void resize_window(const Image& image, const Box& box, int width, int height, const Window& window,
                   Filter filter, ResizeOrder order, std::span<std::uint8_t> out_HWC,
                   std::ptrdiff_t out_stride, ResizeScratch& memory, Simd simd) {
  check_arguments(image, box, width, height, window, out_HWC.size(), out_stride);
  const bool across = width != box.width;
  const bool down = height != box.height;
  ResizeScratch::State& scratch = memory.state();
  ResizePass& h = scratch.horizontal;
  ResizePass& v = scratch.vertical;
  if (across) fill_pass({box.width, width, window.left, window.width}, filter, h);
  if (down) fill_pass({box.height, height, window.top, window.height}, filter, v);
  const Passes passes{scratch, simd};
  // Where reading begins: the first tap of a pass that runs, else the window itself.
  const Pixels in = pixel_at(image, box.left + (across ? h.first_in : window.left),
                             box.top + (down ? v.first_in : window.top));
  std::uint8_t* out = out_HWC.data();
  const int out_bytes = 3 * window.width;
  if (!across && !down) {
    copy_rows(in, window.height, out_bytes, out, out_stride);
  } else if (!down) {
    passes.horizontal(in, window.height, out, out_stride);
  } else if (!across) {
    passes.vertical(in, out_bytes, out, out_stride);
  } else if (vertical_first(box, width, height, order)) {
    const int columns = h.last_in - h.first_in;
    const Pixels between = room_between(scratch, window.height, columns);
    passes.vertical(in, 3 * columns, scratch.between_passes.data(), between.stride);
    passes.horizontal(between, window.height, out, out_stride);
  } else {
    const int rows = v.last_in - v.first_in;
    const Pixels between = room_between(scratch, rows, window.width);
    passes.horizontal(in, rows, scratch.between_passes.data(), between.stride);
    passes.vertical(between, out_bytes, out, out_stride);
  }
}

void resize(const Image& image, const Box& box, int width, int height, Filter filter,
            ResizeOrder order, std::span<std::uint8_t> out_HWC, ResizeScratch& scratch) {
  require(width > 0 && height > 0, "resize: the result has no pixels");
  resize_window(image, box, width, height, {0, 0, width, height}, filter, order, out_HWC,
                std::ptrdiff_t{3} * width, scratch);
}

}  // namespace plumbline
