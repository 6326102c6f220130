// The reference: one table look-up a value, plane by plane of the output.
#include "kernels/preprocess_image/preprocess_image.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// One image of `pixels` pixels; T is float or the bits of a bfloat16.
template <typename T>
void normalise_image(const std::uint8_t* in_HWC, T* out_CHW, std::int64_t pixels,
                     const std::array<std::array<T, 256>, 3>& table) {
  for (std::size_t c = 0; c < 3; ++c) {
    const std::uint8_t* in = in_HWC + c;
    T* out = out_CHW + static_cast<std::int64_t>(c) * pixels;
    for (std::int64_t i = 0; i < pixels; ++i) out[i] = table[c][in[3 * i]];
  }
}

template <typename T>
void normalise_batch(const PreprocessImageParams& p,
                     const std::array<std::array<T, 256>, 3>& table) {
  const std::int64_t pixels = p.height * p.width;
  for (std::int64_t b = 0; b < p.batch; ++b) {
    normalise_image(p.pixels_BHWC + b * 3 * pixels, static_cast<T*>(p.out_BCHW) + b * 3 * pixels,
                    pixels, table);
  }
}

}  // namespace

NormaliseTable normalise_table(const std::array<float, 3>& mean, const std::array<float, 3>& std) {
  NormaliseTable table{};
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t v = 0; v < 256; ++v) {
      table[c][v] = (static_cast<float>(v) / 255.0f - mean[c]) / std[c];
    }
  }
  return table;
}

std::string shape_of(const PreprocessImageParams& p) {
  return str("preprocess_image of [", p.batch, ", ", p.height, ", ", p.width, ", 3]");
}

void check_preprocess_image(const PreprocessImageParams& p) {
  if (p.batch < 0 || p.height < 0 || p.width < 0) {
    throw InternalError(shape_of(p) + ": negative size");
  }
  if (p.batch * p.height * p.width != 0 && (p.pixels_BHWC == nullptr || p.out_BCHW == nullptr)) {
    throw InternalError(shape_of(p) + ": null pointer");
  }
}

namespace cpu {

void preprocess_image(const PreprocessImageParams& p) {
  check_preprocess_image(p);
  const NormaliseTable table = normalise_table(p.mean, p.std);
  if (p.type == PixelType::float32) {
    normalise_batch(p, table);
    return;
  }
  std::array<std::array<std::uint16_t, 256>, 3> half{};
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t v = 0; v < 256; ++v) half[c][v] = bfloat16_bits(table[c][v]);
  }
  normalise_batch(p, half);
}

}  // namespace cpu
}  // namespace plumbline
