// Draws with replacement for bootstraps: a pure function of (seed, resample, place).
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/philox.h"
#include "plumbline/error.h"
#include "plumbline/stats.h"

namespace plumbline {

class Resample {
 public:
  /// n < 2^32; the bias of a 32-bit draw is below n / 2^32.
  Resample(std::uint64_t seed, std::uint64_t resample, std::size_t n)
      : stream_(derive(seed, kPurpose, resample)), n_(n) {}

  [[nodiscard]] std::size_t next() {
    if (place_ % 4 == 0) words_ = draw(stream_, place_ / 4);
    const std::uint64_t word = words_[place_++ % 4];
    return static_cast<std::size_t>(word * n_ >> 32);
  }

 private:
  /// Apart from every purpose of a training run.
  static constexpr auto kPurpose = static_cast<Purpose>(0x626f6f74);
  std::uint64_t stream_;
  std::uint64_t n_;
  std::uint32_t place_ = 0;
  Words words_ = {};
};

/// The 95 % percentile interval: of 1000 values the sorted ones at 24 and 975, from 0.
[[nodiscard]] inline Interval percentile_interval(std::vector<double>& values) {
  require(values.size() >= 40, "a 95 % bootstrap interval takes 40 resamples or more");
  std::sort(values.begin(), values.end());
  const std::size_t tail = values.size() / 40;
  return {values[tail - 1], values[values.size() - tail]};
}

}  // namespace plumbline
