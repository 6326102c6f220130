// Colour jitter, grey and flip of the `crop` mode, bit for bit as torchvision does them to a Pillow
// image. Internal to src/image.
#pragma once

#include <cstdint>
#include <span>

#include "plumbline/image.h"

namespace plumbline {

/// Flip (p `flip`), colour jitter (p `color_jitter_prob`), grey (p `gray_scale_prob`) of a height x
/// width image in place: OpenCLIP's augmentation options of the same names, on uint8 after the
/// resize. Factors of brightness, contrast and saturation are U(max(0, 1 - x), 1 + x), the turn of
/// the hue U(-x, x), in random order (torchvision's ColorJitter); the operations round to uint8
/// after each, as Pillow does.
/// Draws of `stream`: 0 flip?, jitter? - 1 order, grey? - 2 brightness, contrast - 3 saturation,
/// hue.
void crop_colour(std::uint64_t stream, const TrainTransformOptions& options, int height, int width,
                 std::span<std::uint8_t> pixels_HWC);

/// torchvision.transforms.functional.adjust_{brightness, contrast, saturation, hue} and
/// rgb_to_grayscale (three channels) of a Pillow image; `rgb` is HWC.
void pillow_brightness(std::span<std::uint8_t> rgb, double factor);
void pillow_contrast(std::span<std::uint8_t> rgb, double factor);
void pillow_saturation(std::span<std::uint8_t> rgb, double factor);
void pillow_hue(std::span<std::uint8_t> rgb, double turn);
void pillow_grey(std::span<std::uint8_t> rgb);

}  // namespace plumbline
