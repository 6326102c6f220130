// The reference: one table look-up a value, plane by plane of the output. Where the processor has
// AVX-512, arithmetic that gives the same bits is four times as fast.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>

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

#if defined(__x86_64__)
#define PLUMBLINE_AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi")))

constexpr std::int64_t kPixelsAtOnce = 16;

/// x / d, correctly rounded, from r, which is 1 / d rounded: the remainder of the first guess
/// corrects it (Markstein 1990). Holds but for rare d; normalise_fast() tries all 256 pixels.
PLUMBLINE_AVX512 inline __m512 divide(__m512 x, __m512 d, __m512 r) {
  const __m512 guess = _mm512_mul_ps(x, r);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(guess, d, x), r, guess);
}

/// One channel of one image.
PLUMBLINE_AVX512 void normalise_channel(const std::uint8_t* in_HWC, int channel, float mean,
                                        float std, std::int64_t pixels, float* out) {
  const __m512i steps =
      _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45);
  const __m512i index = _mm512_add_epi32(steps, _mm512_set1_epi32(channel));
  const __m512 white = _mm512_set1_ps(255.0f), per_white = _mm512_set1_ps(1.0f / 255.0f);
  const __m512 means = _mm512_set1_ps(mean);
  const __m512 stds = _mm512_set1_ps(std), per_std = _mm512_set1_ps(1.0f / std);
  constexpr __mmask64 kFirstBytes = 0x1111111111111111;  // of each lane
  for (std::int64_t i = 0; i < pixels; i += kPixelsAtOnce) {
    const auto count = static_cast<unsigned>(std::min(pixels - i, kPixelsAtOnce));
    const __mmask64 bytes = (std::uint64_t{1} << (3 * count)) - 1;
    const __m512i rgb = _mm512_maskz_loadu_epi8(bytes, in_HWC + 3 * i);
    const __m512i values = _mm512_maskz_permutexvar_epi8(kFirstBytes, index, rgb);
    const __m512 v = divide(_mm512_maskz_cvtepi32_ps(0xffff, values), white, per_white);
    const __m512 result = divide(_mm512_sub_ps(v, means), stds, per_std);
    _mm512_mask_storeu_ps(out + i, static_cast<__mmask16>((1U << count) - 1), result);
  }
}

/// False, and nothing done, where the processor or the divisors do not allow it.
bool normalise_fast(const PreprocessImageParams& p, const NormaliseTable& table) {
  if (__builtin_cpu_supports("avx512vbmi") == 0 || __builtin_cpu_supports("avx512bw") == 0) {
    return false;
  }
  std::array<std::uint8_t, 768> ramp;
  for (std::size_t v = 0; v < ramp.size(); ++v) ramp[v] = static_cast<std::uint8_t>(v / 3);
  std::array<float, 256> tried;
  for (std::size_t c = 0; c < 3; ++c) {
    normalise_channel(ramp.data(), static_cast<int>(c), p.mean[c], p.std[c], 256, tried.data());
    if (tried != table[c]) return false;
  }
  const std::int64_t pixels = p.height * p.width;
  for (std::int64_t plane = 0; plane < 3 * p.batch; ++plane) {
    const auto c = static_cast<std::size_t>(plane % 3);
    normalise_channel(p.pixels_BHWC + plane / 3 * 3 * pixels, static_cast<int>(c), p.mean[c],
                      p.std[c], pixels, static_cast<float*>(p.out_BCHW) + plane * pixels);
  }
  return true;
}
#else
bool normalise_fast(const PreprocessImageParams&, const NormaliseTable&) { return false; }
#endif

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
    if (!normalise_fast(p, table)) normalise_batch(p, table);
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
