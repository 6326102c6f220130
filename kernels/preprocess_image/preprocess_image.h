// uint8 HWC pixels to the normalised CHW a model reads: out = ((v / 255) - mean) / std, three
// float32 roundings per value, as torchvision's to_tensor and normalize do on a CPU. There are only
// 3 x 256 results, so both implementations look them up in a table and agree bit for bit.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "kernels/bfloat16.h"

struct CUstream_st;  // *cudaStream_t, without the CUDA header

namespace plumbline {

enum class PixelType { float32, bfloat16 };

/// The table: entry [c][v] is ((v / 255) - mean[c]) / std[c], each operation rounded to float32.
/// Neither v * (1/255) nor scale-and-bias gives these bits (105 to 206 of 256 entries differ).
using NormaliseTable = std::array<std::array<float, 256>, 3>;
[[nodiscard]] NormaliseTable normalise_table(const std::array<float, 3>& mean,
                                             const std::array<float, 3>& std);

struct PreprocessImageParams {
  const std::uint8_t* pixels_BHWC = nullptr;  ///< B * H * W * 3 bytes; CUDA: 16-byte aligned
  void* out_BCHW = nullptr;  ///< B * 3 * H * W values of `type`; CUDA: 16-byte aligned
  PixelType type = PixelType::float32;
  std::int64_t batch = 0;
  std::int64_t height = 0, width = 0;
  std::array<float, 3> mean = {0, 0, 0};
  std::array<float, 3> std = {1, 1, 1};
};

namespace cpu {
/// Reference and CPU path. batch 0 does nothing. Throws InternalError with the shape for a negative
/// size or a null pointer.
void preprocess_image(const PreprocessImageParams& params);
}  // namespace cpu

namespace cuda {
/// The same on device pointers, in order on `stream`; allocates nothing, does not synchronise,
/// needs no workspace. Cost: 3 BHW bytes read, 6 or 12 BHW written; bound by memory when H * W is a
/// multiple of 16 (224, 256, 336, 384, ...), less so for multiples of 4 and for odd sizes.
/// Throws InternalError as cpu:: does, also for a misaligned pointer; Error with the shape and
/// CUDA's words when the launch fails, or when the program was built without nvcc.
void preprocess_image(const PreprocessImageParams& params, CUstream_st* stream);
}  // namespace cuda

/// Says "preprocess_image of [B, H, W, 3]"; for messages.
[[nodiscard]] std::string shape_of(const PreprocessImageParams& params);
/// Throws InternalError unless sizes and pointers are ones that both implementations accept.
void check_preprocess_image(const PreprocessImageParams& params);

}  // namespace plumbline
