// The two passes with AVX2, bit-equal with the scalar ones: a 22-bit weight is split into
// hi * 2^15 + lo, both int16, pixels are widened to int16, and pmaddwd sums two taps at once into
// 32-bit accumulators of the hi and lo products. (hi_sum << 15) + lo_sum is exact modulo 2^32.
// Functions carry the target themselves (no -mavx2), so nothing else may use these instructions.
#include <immintrin.h>

#include <cstring>

#include "image/resample.h"

#define PLUMBLINE_AVX2 __attribute__((target("avx2")))

namespace plumbline {
namespace {

constexpr int kPixelLoad = 16;    // bytes a horizontal load touches for four pixels
constexpr int kColumnChunk = 32;  // bytes of a row that a vertical step makes

/// ((hi << 15) + lo + 2^21) >> 22.
PLUMBLINE_AVX2 inline __m256i fixed_to_int(__m256i hi, __m256i lo) {
  const __m256i half = _mm256_set1_epi32(1 << (kWeightBits - 1));
  const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(_mm256_slli_epi32(hi, 15), lo), half);
  return _mm256_srai_epi32(sum, kWeightBits);
}
PLUMBLINE_AVX2 inline __m128i fixed_to_int(__m128i hi, __m128i lo) {
  const __m128i half = _mm_set1_epi32(1 << (kWeightBits - 1));
  const __m128i sum = _mm_add_epi32(_mm_add_epi32(_mm_slli_epi32(hi, 15), lo), half);
  return _mm_srai_epi32(sum, kWeightBits);
}

PLUMBLINE_AVX2 inline __m128i sum_of_lanes(__m256i v) {
  return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

/// Outputs [0, outputs) of kRows adjacent rows, which share the loads of the weights.
template <int kRows>
PLUMBLINE_AVX2 void horizontal_rows(const ResizePass& pass, const std::uint8_t* in,
                                    std::ptrdiff_t in_stride, std::size_t outputs,
                                    std::uint8_t* out, std::ptrdiff_t out_stride) {
  // Four pixels rgbrgbrgbrgb to int16 pairs: r0r1 g0g1 b0b1 -- in the low lane, 2 and 3 in the
  // high.
  const __m256i pairs =
      _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7,
                       -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m256i take_hi = _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2);
  const __m256i take_lo = _mm256_setr_epi32(1, 1, 1, 1, 3, 3, 3, 3);
  for (std::size_t x = 0; x < outputs; ++x) {
    const std::int16_t* k = pass.split.data() + 2 * x * static_cast<std::size_t>(pass.stride);
    const std::uint8_t* v = in + std::ptrdiff_t{3} * pass.taps[x].first;
    __m256i hi[kRows];
    __m256i lo[kRows];
    for (int r = 0; r < kRows; ++r) hi[r] = lo[r] = _mm256_setzero_si256();
    for (int i = 0; i < pass.taps[x].count; i += 4, k += 8, v += 12) {
      const __m256i weights =
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(k)));
      const __m256i weights_hi = _mm256_permutevar8x32_epi32(weights, take_hi);
      const __m256i weights_lo = _mm256_permutevar8x32_epi32(weights, take_lo);
      for (int r = 0; r < kRows; ++r) {
        const __m256i pixels = _mm256_shuffle_epi8(
            _mm256_broadcastsi128_si256(
                _mm_loadu_si128(reinterpret_cast<const __m128i*>(v + r * in_stride))),
            pairs);
        hi[r] = _mm256_add_epi32(hi[r], _mm256_madd_epi16(pixels, weights_hi));
        lo[r] = _mm256_add_epi32(lo[r], _mm256_madd_epi16(pixels, weights_lo));
      }
    }
    for (int r = 0; r < kRows; ++r) {
      const __m128i value = fixed_to_int(sum_of_lanes(hi[r]), sum_of_lanes(lo[r]));
      const __m128i words = _mm_packs_epi32(value, value);
      const int rgb = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
      std::memcpy(out + r * out_stride + std::ptrdiff_t{3} * static_cast<std::ptrdiff_t>(x), &rgb,
                  3);
    }
  }
}

/// How many outputs of a row can be made with 16-byte loads that stay before `end`. The last load
/// of an output begins at its last tap or before; last taps grow from output to output (last loads,
/// which are first + a multiple of 4, do not).
std::size_t safe_outputs(const ResizePass& pass, const std::uint8_t* row, const std::uint8_t* end) {
  std::size_t outputs = pass.taps.size();
  while (outputs > 0) {
    const Taps& taps = pass.taps[outputs - 1];
    if (end - row >= 3 * (taps.first + taps.count - 1) + kPixelLoad) break;
    --outputs;
  }
  return outputs;
}

/// kColumnChunk bytes of one output row, from the columns that begin at `column`.
PLUMBLINE_AVX2 inline void vertical_chunk(const std::uint8_t* column, std::ptrdiff_t stride,
                                          int count, const std::int16_t* k, std::uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i hi[4] = {zero, zero, zero, zero};
  __m256i lo[4] = {zero, zero, zero, zero};
  for (int i = 0; i < count; i += 2, k += 4) {
    const std::uint8_t* first = column + i * stride;
    const std::uint8_t* second = i + 1 < count ? first + stride : first;  // its weight is 0 then
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second));
    std::int32_t pair[2];
    std::memcpy(pair, k, sizeof pair);
    const __m256i weights_hi = _mm256_set1_epi32(pair[0]);
    const __m256i weights_lo = _mm256_set1_epi32(pair[1]);
    const __m256i low = _mm256_unpacklo_epi8(a, b);
    const __m256i high = _mm256_unpackhi_epi8(a, b);
    const __m256i words[4] = {_mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero),
                              _mm256_unpacklo_epi8(high, zero), _mm256_unpackhi_epi8(high, zero)};
    for (int j = 0; j < 4; ++j) {
      hi[j] = _mm256_add_epi32(hi[j], _mm256_madd_epi16(words[j], weights_hi));
      lo[j] = _mm256_add_epi32(lo[j], _mm256_madd_epi16(words[j], weights_lo));
    }
  }
  // The unpacks and these packs stay inside 128-bit lanes, so the bytes come out in order.
  const __m256i left = _mm256_packs_epi32(fixed_to_int(hi[0], lo[0]), fixed_to_int(hi[1], lo[1]));
  const __m256i right = _mm256_packs_epi32(fixed_to_int(hi[2], lo[2]), fixed_to_int(hi[3], lo[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_packus_epi16(left, right));
}

}  // namespace

Simd best_simd() {
  if (__builtin_cpu_supports("avx512vbmi") != 0 && __builtin_cpu_supports("avx512vnni") != 0 &&
      __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0) {
    return Simd::avx512;
  }
  return __builtin_cpu_supports("avx2") != 0 ? Simd::avx2 : Simd::none;
}

void horizontal_avx2(const ResizePass& pass, const Pixels& in, int rows, std::uint8_t* out,
                     std::ptrdiff_t out_stride) {
  const std::size_t outputs = pass.taps.size();
  int y = 0;
  // Rows grow safer towards the top, so the last of four decides.
  while (y + 4 <= rows && safe_outputs(pass, in.data + (y + 3) * in.stride, in.end) == outputs) {
    horizontal_rows<4>(pass, in.data + y * in.stride, in.stride, outputs, out + y * out_stride,
                       out_stride);
    y += 4;
  }
  for (; y < rows; ++y) {
    const std::uint8_t* row = in.data + y * in.stride;
    const std::size_t safe = safe_outputs(pass, row, in.end);
    horizontal_rows<1>(pass, row, in.stride, safe, out + y * out_stride, out_stride);
    horizontal_row_scalar(pass, row, safe, outputs, out + y * out_stride);
  }
}

PLUMBLINE_AVX2 void vertical_avx2(const ResizePass& pass, const Pixels& in, int bytes,
                                  std::uint8_t* out, std::ptrdiff_t out_stride) {
  if (bytes < kColumnChunk) {
    vertical_scalar(pass, in, bytes, out, out_stride);
    return;
  }
  for (std::size_t y = 0; y < pass.taps.size(); ++y) {
    const std::int16_t* k = pass.split.data() + 2 * y * static_cast<std::size_t>(pass.stride);
    const std::uint8_t* column = in.data + pass.taps[y].first * in.stride;
    std::uint8_t* row = out + static_cast<std::ptrdiff_t>(y) * out_stride;
    for (int x = 0; x < bytes; x += kColumnChunk) {
      const int at = std::min(x, bytes - kColumnChunk);  // the last chunk repeats some bytes
      vertical_chunk(column + at, in.stride, pass.taps[y].count, k, row + at);
    }
  }
}

}  // namespace plumbline
