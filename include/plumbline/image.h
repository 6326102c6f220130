// Encoded image to the pixels a model sees. Bit-equal with Pillow and torchvision: decode to 8-bit
// RGB, crop, bicubic resize in Pillow's fixed point, normalise in float32 with three roundings.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "plumbline/bad_sample.h"

namespace plumbline {

/// 8-bit RGB, rows top to bottom, HWC.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels_HWC;
};

enum class ImageFormat { jpeg, png, webp };

struct ImageInfo {
  ImageFormat format;
  int width, height;
};

struct DecodeLimits {
  std::int64_t max_pixels = 25'000'000;
  int max_side = 65'500;
  std::int64_t max_bytes = 64 << 20;
};

/// Reads only the header.
[[nodiscard]] std::variant<ImageInfo, BadSample> probe_image(std::span<const std::uint8_t> bytes,
                                                             const DecodeLimits& limits = {});

/// Decodes JPEG, PNG or WebP (by signature). Reuses the memory of `out`. Keeps one decompressor, so
/// use one decoder a thread. Never throws for bad bytes: returns why, or nothing when all is well.
class ImageDecoder {
 public:
  explicit ImageDecoder(const DecodeLimits& limits = {});
  ~ImageDecoder();
  ImageDecoder(ImageDecoder&&) noexcept;
  ImageDecoder& operator=(ImageDecoder&&) noexcept;
  [[nodiscard]] std::optional<BadSample> decode(std::span<const std::uint8_t> bytes, Image& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct Box {
  int left = 0, top = 0, width = 0, height = 0;
};

enum class Filter { bicubic, bilinear };
/// In which order the two passes of a resize run; pillow13 is Pillow >= 13's rule.
enum class ResizeOrder { pillow13, horizontal };
enum class ResizeMode { shortest, longest, squash };

/// How a model wants its images; belongs to the checkpoint.
struct PreprocessOptions {
  int height = 224, width = 224;
  std::array<float, 3> mean = {0.48145466f, 0.4578275f, 0.40821073f};
  std::array<float, 3> std = {0.26862954f, 0.26130258f, 0.27577711f};
  Filter filter = Filter::bicubic;       ///< eval only; training is always bicubic
  ResizeMode mode = ResizeMode::shortest;  ///< eval only
  int fill = 0;                          ///< padding of `longest`
  ResizeOrder order = ResizeOrder::pillow13;
};

/// openai | siglip | siglip2 | clipa, at `size` x `size`. Throws UsageError for another name.
[[nodiscard]] PreprocessOptions preprocess_family(const std::string& family, int size);

/// The `data.train_transform` section of a run file.
struct TrainTransformOptions {
  std::string mode = "crop";  ///< crop | eval (no randomness) | simclr
  std::array<double, 2> scale = {0.9, 1.0};
  std::array<double, 2> ratio = {0.75, 4.0 / 3.0};  ///< 1.3333 within 1e-4 means exactly 4/3
  int views = 1;
};

/// Memory that resizing reuses between images; one a thread.
struct ResizeScratch {
  std::vector<std::uint8_t> between_passes;
  std::vector<double> weights;
  std::vector<std::int32_t> fixed_weights;
  std::vector<int> bounds;
};

/// Crops `box` out of `image` first (taps clamp at its edge), then resizes to width x height.
///   out_HWC  height * width * 3 bytes
void resize(const Image& image, const Box& box, int width, int height, Filter filter,
            ResizeOrder order, std::span<std::uint8_t> out_HWC, ResizeScratch& scratch);

/// torchvision's RandomResizedCrop box for the sample at position `g` of the run, view `view`:
/// a pure function of its arguments (Philox, purpose `crop`).
[[nodiscard]] Box random_resized_crop(int width, int height, const TrainTransformOptions& options,
                                      std::uint64_t seed, std::uint64_t g, int view = 0);

/// Deterministic transform of evaluation: resize by mode, centre crop or pad. uint8 out.
void eval_transform(const Image& image, const PreprocessOptions& options,
                    std::span<std::uint8_t> out_HWC, ResizeScratch& scratch);

/// Random transform of training (or eval_transform when mode is eval). uint8 out.
void train_transform(const Image& image, const TrainTransformOptions& train,
                     const PreprocessOptions& options, std::uint64_t seed, std::uint64_t g,
                     int view, std::span<std::uint8_t> out_HWC, ResizeScratch& scratch);

}  // namespace plumbline
