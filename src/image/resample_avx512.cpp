// The two passes with AVX-512, bit-equal with the scalar ones: a 22-bit weight is split into three
// signed bytes, a * 2^16 + b * 2^8 + c, and vpdpbusd adds four products of a pixel and such a byte
// to a 32-bit accumulator. (a_sum << 16) + (b_sum << 8) + c_sum is exact modulo 2^32. A resize of
// 512 x 512 to 224 x 224 takes a fifth of the time that AVX2 takes.
// g++ 12 calls the undefined operands of its own intrinsics uninitialised (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "image/resample.h"

#define PLUMBLINE_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,bmi2")))

namespace plumbline {
namespace {

constexpr int kBlockOutputs = 5;  // times three channels: 15 of 16 lanes
constexpr int kGroup = 4;         // taps that a lane adds at once
constexpr int kParts = 3;         // bytes of a weight
constexpr int kGroupBytes = kParts * kAvx512Bytes;
constexpr int kRowsAtOnce = 8;  // share the loads of the weights

/// The three bytes of a weight, the highest first; false when it is 2 or more.
bool split_in_bytes(std::int32_t weight, std::int8_t* parts, std::ptrdiff_t step) {
  for (int p = kParts - 1; p >= 0; --p) {
    const auto low = static_cast<std::int8_t>(weight & 0xff);
    parts[p * step] = low;
    weight = (weight - low) >> 8;
  }
  return weight == 0;
}

/// The longest block of outputs from `first` on.
TapBlock block_at(const std::vector<Taps>& taps, std::size_t first) {
  TapBlock block;
  block.first_out = static_cast<int>(first);
  block.first_in = taps[first].first;
  for (std::size_t x = first; x < taps.size() && block.outputs < kBlockOutputs; ++x) {
    const int offset = taps[x].first - block.first_in;
    if (3 * (offset + kGroup) > kAvx512Bytes) break;
    ++block.outputs;
    block.groups = std::max(block.groups, (taps[x].count + kGroup - 1) / kGroup);
    block.bytes = std::max(block.bytes, 3 * (offset + taps[x].count));
  }
  return block;
}

/// Indices and weights of a block. Lane 3 x + c makes channel c of output x; its four bytes are the
/// taps of a group.
bool fill_table(const ResizePass& pass, const TapBlock& block, std::uint8_t* table) {
  bool fits = true;
  for (int x = 0; x < block.outputs; ++x) {
    const auto out = static_cast<std::size_t>(block.first_out + x);
    const Taps& taps = pass.taps[out];
    const std::int32_t* weights = pass.weights.data() + out * static_cast<std::size_t>(pass.stride);
    for (int c = 0; c < 3; ++c) {
      const int lane = kGroup * (3 * x + c);
      for (int t = 0; t < kGroup; ++t) {
        table[lane + t] = static_cast<std::uint8_t>(3 * (taps.first - block.first_in + t) + c);
      }
      for (int i = 0; i < taps.count; ++i) {
        std::uint8_t* to = table + kAvx512Bytes + i / kGroup * kGroupBytes + lane + i % kGroup;
        fits &= split_in_bytes(weights[i], reinterpret_cast<std::int8_t*>(to), kAvx512Bytes);
      }
    }
  }
  return fits;
}

/// Sums begin at 2^21 in the lowest part, which rounds.
PLUMBLINE_AVX512 inline void start(__m512i* sums) {
  sums[0] = sums[1] = _mm512_setzero_si512();
  sums[2] = _mm512_set1_epi32(1 << (kWeightBits - 1));
}

/// ((a << 16) + (b << 8) + c) >> 22: the value before it is clipped to 0..255.
PLUMBLINE_AVX512 inline __m512i value_of(const __m512i* sums) {
  const __m512i high = _mm512_add_epi32(_mm512_slli_epi32(sums[0], 8), sums[1]);
  return _mm512_srai_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, 8), sums[2]), kWeightBits);
}

/// The outputs of one block in kRows adjacent rows that begin at `in`.
template <int kRows>
PLUMBLINE_AVX512 inline void make_block(const TapBlock& block, const std::uint8_t* table,
                                        const std::uint8_t* in, std::ptrdiff_t in_stride,
                                        std::uint8_t* out, std::ptrdiff_t out_stride) {
  const __m512i index = _mm512_loadu_si512(table);
  const std::uint8_t* weights = table + kAvx512Bytes;
  __m512i sums[kRows][kParts];
  for (int r = 0; r < kRows; ++r) start(sums[r]);
  int left = block.bytes;
  for (int g = 0; g < block.groups; ++g) {
    // Bytes past the last tap may not exist.
    const __mmask64 there =
        _bzhi_u64(~0ULL, static_cast<unsigned>(std::clamp(left, 0, kAvx512Bytes)));
    for (int r = 0; r < kRows; ++r) {
      const __m512i pixels =
          _mm512_permutexvar_epi8(index, _mm512_maskz_loadu_epi8(there, in + r * in_stride));
      for (int p = 0; p < kParts; ++p) {
        sums[r][p] =
            _mm512_dpbusd_epi32(sums[r][p], pixels, _mm512_loadu_si512(weights + p * kAvx512Bytes));
      }
    }
    weights += kGroupBytes;
    in += 3 * kGroup;
    left -= 3 * kGroup;
  }
  const auto lanes = static_cast<__mmask16>((1U << (3 * block.outputs)) - 1);
  for (int r = 0; r < kRows; ++r) {
    const __m512i value = _mm512_max_epi32(value_of(sums[r]), _mm512_setzero_si512());
    _mm_mask_storeu_epi8(out + r * out_stride, lanes, _mm512_cvtusepi32_epi8(value));
  }
}

template <int kRows>
PLUMBLINE_AVX512 void make_rows(const ResizePass& pass, const std::uint8_t* in,
                                std::ptrdiff_t in_stride, std::uint8_t* out,
                                std::ptrdiff_t out_stride) {
  for (const TapBlock& block : pass.blocks) {
    make_block<kRows>(block, pass.tables.data() + block.table,
                      in + std::ptrdiff_t{3} * block.first_in, in_stride,
                      out + std::ptrdiff_t{3} * block.first_out, out_stride);
  }
}

PLUMBLINE_AVX512 inline __m512i four_bytes(const std::int8_t* bytes) {
  std::int32_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return _mm512_set1_epi32(word);
}

/// Bytes of the same column side by side: the lanes of out[q] hold four rows of four columns.
PLUMBLINE_AVX512 inline void interleave(const __m512i* rows, __m512i* out) {
  const __m512i low01 = _mm512_unpacklo_epi8(rows[0], rows[1]);
  const __m512i high01 = _mm512_unpackhi_epi8(rows[0], rows[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(rows[2], rows[3]);
  const __m512i high23 = _mm512_unpackhi_epi8(rows[2], rows[3]);
  out[0] = _mm512_unpacklo_epi16(low01, low23);
  out[1] = _mm512_unpackhi_epi16(low01, low23);
  out[2] = _mm512_unpacklo_epi16(high01, high23);
  out[3] = _mm512_unpackhi_epi16(high01, high23);
}

/// kAvx512Bytes bytes of one output row, from the columns that begin at `column`.
PLUMBLINE_AVX512 inline void vertical_chunk(const std::uint8_t* column, std::ptrdiff_t stride,
                                            int count, const std::int8_t* k, std::uint8_t* out) {
  __m512i sums[4][kParts];
  for (auto& quarter : sums) start(quarter);
  for (int i = 0; i < count; i += kGroup, k += kGroup * kParts) {
    __m512i rows[kGroup];
    for (int t = 0; t < kGroup; ++t) {
      rows[t] = _mm512_loadu_si512(column + std::min(i + t, count - 1) * stride);  // weight 0 there
    }
    __m512i columns[4];
    interleave(rows, columns);
    for (int p = 0; p < kParts; ++p) {
      const __m512i weights = four_bytes(k + p * kGroup);
      for (int q = 0; q < 4; ++q) {
        sums[q][p] = _mm512_dpbusd_epi32(sums[q][p], columns[q], weights);
      }
    }
  }
  // The unpacks and these packs stay inside 128-bit lanes, so the bytes come out in order.
  const __m512i left = _mm512_packs_epi32(value_of(sums[0]), value_of(sums[1]));
  const __m512i right = _mm512_packs_epi32(value_of(sums[2]), value_of(sums[3]));
  _mm512_storeu_si512(out, _mm512_packus_epi16(left, right));
}

}  // namespace

bool fill_blocks(ResizePass& pass) {
  if (!pass.blocks.empty()) return true;
  std::size_t bytes = 0;
  for (std::size_t x = 0; x < pass.taps.size();) {
    TapBlock block = block_at(pass.taps, x);
    block.table = bytes;
    bytes += static_cast<std::size_t>(kAvx512Bytes + block.groups * kGroupBytes);
    x += static_cast<std::size_t>(block.outputs);
    pass.blocks.push_back(block);
  }
  pass.tables.assign(bytes, 0);
  bool fits = true;
  for (const TapBlock& block : pass.blocks) {
    fits &= fill_table(pass, block, pass.tables.data() + block.table);
  }
  if (!fits) pass.blocks.clear();
  return fits;
}

bool fill_parts(ResizePass& pass) {
  if (!pass.parts.empty()) return true;
  pass.parts.resize(pass.weights.size() * kParts);
  bool fits = true;
  for (std::size_t i = 0; i < pass.weights.size(); ++i) {
    std::int8_t* group = pass.parts.data() + i / kGroup * kGroup * kParts;
    fits &= split_in_bytes(pass.weights[i], group + i % kGroup, kGroup);
  }
  if (!fits) pass.parts.clear();
  return fits;
}

PLUMBLINE_AVX512 void horizontal_avx512(const ResizePass& pass, const Pixels& in, int rows,
                                        std::uint8_t* out, std::ptrdiff_t out_stride) {
  int y = 0;
  for (; y + kRowsAtOnce <= rows; y += kRowsAtOnce) {
    make_rows<kRowsAtOnce>(pass, in.data + y * in.stride, in.stride, out + y * out_stride,
                           out_stride);
  }
  for (; y < rows; ++y) {
    make_rows<1>(pass, in.data + y * in.stride, in.stride, out + y * out_stride, out_stride);
  }
}

PLUMBLINE_AVX512 void vertical_avx512(const ResizePass& pass, const Pixels& in, int bytes,
                                      std::uint8_t* out, std::ptrdiff_t out_stride) {
  for (std::size_t y = 0; y < pass.taps.size(); ++y) {
    const std::int8_t* k = pass.parts.data() + y * static_cast<std::size_t>(kParts * pass.stride);
    const std::uint8_t* column = in.data + pass.taps[y].first * in.stride;
    std::uint8_t* row = out + static_cast<std::ptrdiff_t>(y) * out_stride;
    for (int x = 0; x < bytes; x += kAvx512Bytes) {
      const int at = std::min(x, bytes - kAvx512Bytes);  // the last chunk repeats some bytes
      vertical_chunk(column + at, in.stride, pass.taps[y].count, k, row + at);
    }
  }
}

}  // namespace plumbline
