// The colour half of SimCLR's augmentation. Internal to src/image.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace plumbline {

/// Flip (p 0.5), colour jitter (p 0.8), grey (p 0.2), blur (p 0.5) of a height x width image in
/// place, after Chen et al. 2020, arXiv:2002.05709, appendix A, with the constants of its
/// TensorFlow code: brightness, contrast and saturation factors within 1 +- 0.8 s and hue +- 0.2 s
/// of a turn in random order, each clipped to [0, 1]; Gaussian of sigma U(0.1, 2) and side height /
/// 10 (made odd), zeros outside. s = 1; at most 32 rows: s = 0.5 and no blur, as for CIFAR-10.
/// Arithmetic is float32 in [0, 1], rounded to uint8 once at the end.
/// Draws of `stream`: 0 flip, jitter? - 1 order, grey? - 2 brightness, contrast - 3 saturation,
/// hue - 4 blur?, sigma.
void simclr_colour(std::uint64_t stream, int height, int width, std::span<std::uint8_t> pixels_HWC,
                   std::vector<float>& scratch);

/// One of the 24 orders of four operations, from its number.
[[nodiscard]] std::array<int, 4> order_of_four(std::uint64_t number);

void flip_left_right(int height, int width, std::span<std::uint8_t> pixels_HWC);

/// The parts, for tests; `rgb` is HWC in [0, 1].
void adjust_brightness(std::span<float> rgb, float factor);
void adjust_contrast(std::span<float> rgb, float factor);
void adjust_saturation(std::span<float> rgb, float factor);
void adjust_hue(std::span<float> rgb, float turn);
void make_grey(std::span<float> rgb);
/// `scratch` holds rgb.size() values.
void gaussian_blur(std::span<float> rgb, int height, int width, int side, double sigma,
                   std::span<float> scratch);

}  // namespace plumbline
