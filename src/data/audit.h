// `data audit`: what a set is like before money is spent on training with it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/sample_copy.h"
#include "plumbline/tokenizer.h"

namespace plumbline {

/// Scripts that a caption's letters mostly belong to; a hint at its language.
inline constexpr std::array<const char*, 9> kScripts = {
    "latin", "greek", "cyrillic", "hebrew", "arabic", "devanagari", "han_kana", "hangul", "other"};

struct AuditOptions : ToolInput {
  const Tokenizer* tokenizer = nullptr;  ///< null: no token lengths
  DecodeLimits limits;
};

/// Smallest, mean, quantiles and largest of a number.
struct Spread {
  double least = 0, mean = 0, p10 = 0, p50 = 0, p90 = 0, p99 = 0, most = 0;
};

struct AuditReport {
  std::int64_t samples = 0;
  std::array<std::int64_t, kBadSampleClasses> bad = {};
  std::int64_t repeated_keys = 0, repeated_images = 0, repeated_captions = 0;  ///< beyond the first
  std::int64_t jpeg = 0, png = 0, webp = 0, progressive = 0;
  Spread image_bytes, short_side, aspect;  ///< aspect: long side over short side
  std::int64_t fixed_crops = 0;  ///< aspect >= 1.5: a crop of at least 90 % of the area never fits
  std::int64_t short_captions = 0;  ///< below 3 letters or digits
  Spread caption_characters, caption_tokens;
  std::int64_t truncated = 0;  ///< captions longer than the tokenizer's context
  std::array<std::int64_t, kScripts.size()> scripts = {};
  /// Of one core, by the model: bytes / 118 MB/s + pixels / 580 MP/s + 0.1 ms.
  double images_per_s_core = 0;
};

/// Reads every usable sample of the shards. Memory: about 50 bytes a sample.
[[nodiscard]] AuditReport audit(const AuditOptions& options, const Progress& progress = {});

}  // namespace plumbline
