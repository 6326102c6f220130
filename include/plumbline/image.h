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

/// 16-bit grey to 8 bits: `clip` is min(v, 255), what Pillow does; `shift` is v >> 8.
enum class Grey16 { clip, shift };

/// Reads only the header; not a promise that the pixels decode.
[[nodiscard]] std::variant<ImageInfo, BadSample> probe_image(std::span<const std::uint8_t> bytes,
                                                             const DecodeLimits& limits = {});

struct Box {
  int left = 0, top = 0, width = 0, height = 0;
};

/// Decodes JPEG, PNG or WebP (by signature) to RGB: grey is replicated, alpha dropped (not
/// blended), CMYK taken as inverted, colour profiles and orientation ignored. Reuses the memory of
/// `out`, whose contents mean nothing after a refusal. Keeps one decompressor, so use one decoder a
/// thread. Never throws for bad bytes: returns why, or nothing when all is well.
class ImageDecoder {
 public:
  explicit ImageDecoder(const DecodeLimits& limits = {}, Grey16 grey16 = Grey16::clip);
  ~ImageDecoder();
  ImageDecoder(ImageDecoder&&) noexcept;
  ImageDecoder& operator=(ImageDecoder&&) noexcept;
  [[nodiscard]] std::optional<BadSample> decode(std::span<const std::uint8_t> bytes, Image& out);
  /// As decode(), with `out` of the whole size, but only the pixels of `part` (inside the image)
  /// are sure to be there: those around it may mean nothing. They equal decode()'s. A JPEG is read
  /// no further than `part` needs, so that damage behind it goes unseen, except for a missing end
  /// marker.
  [[nodiscard]] std::optional<BadSample> decode_part(std::span<const std::uint8_t> bytes,
                                                     const Box& part, Image& out);
  /// Images decoded although libjpeg warned about them (corrupt data that Pillow accepts too).
  [[nodiscard]] std::int64_t warned() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
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
  Filter filter = Filter::bicubic;         ///< eval only; training is always bicubic
  ResizeMode mode = ResizeMode::shortest;  ///< eval only
  int fill = 0;                            ///< padding of `longest`
  ResizeOrder order = ResizeOrder::pillow13;
};

/// openai | siglip | siglip2 | clipa, at `size` x `size`. Throws UsageError for another name.
[[nodiscard]] PreprocessOptions preprocess_family(const std::string& family, int size);

/// The `data.train_transform` section of a run file. `simclr` crops by its own recipe (area 0.08 to
/// 1, ratio 3/4 to 4/3), whatever `scale` and `ratio` say, then flips, jitters, greys and blurs.
struct TrainTransformOptions {
  std::string mode = "crop";  ///< crop | eval (no randomness) | simclr
  std::array<double, 2> scale = {0.9, 1.0};
  std::array<double, 2> ratio = {0.75, 4.0 / 3.0};  ///< 1.3333 within 1e-4 means exactly 4/3
  int views = 1;
  // Of `crop`, after the resize; OpenCLIP's augmentation options (it has no flip).
  double flip = 0;                   ///< probability
  std::vector<double> color_jitter;  ///< spread of brightness, contrast, saturation, hue, or none
  double color_jitter_prob = 0;
  double gray_scale_prob = 0;
};

/// Memory and weights that resizing reuses between images; one a thread.
class ResizeScratch {
 public:
  struct State;
  ResizeScratch();
  ~ResizeScratch();
  ResizeScratch(ResizeScratch&&) noexcept;
  ResizeScratch& operator=(ResizeScratch&&) noexcept;
  [[nodiscard]] State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

/// Crops `box` out of `image` first (taps clamp at its edge), then resizes to width x height.
///   out_HWC  height * width * 3 bytes
void resize(const Image& image, const Box& box, int width, int height, Filter filter,
            ResizeOrder order, std::span<std::uint8_t> out_HWC, ResizeScratch& scratch);

/// torchvision's RandomResizedCrop box for the sample at position `g` of the run, view `view`:
/// a pure function of its arguments (Philox, purpose `crop`).
[[nodiscard]] Box random_resized_crop(int width, int height, const TrainTransformOptions& options,
                                      std::uint64_t seed, std::uint64_t g, int view = 0);

/// Deterministic transform of evaluation: resize by mode, centre crop or pad. uint8 out,
/// options.height * options.width * 3 bytes. Only the part that the crop keeps is computed.
void eval_transform(const Image& image, const PreprocessOptions& options,
                    std::span<std::uint8_t> out_HWC, ResizeScratch& scratch);

/// Random transform of training (or eval_transform when mode is eval). uint8 out: `simclr` computes
/// in float32 and rounds once. View v of `views` draws from the streams of views * g + v.
/// Throws UsageError for an unknown mode.
void train_transform(const Image& image, const TrainTransformOptions& train,
                     const PreprocessOptions& options, std::uint64_t seed, std::uint64_t g,
                     int view, std::span<std::uint8_t> out_HWC, ResizeScratch& scratch);

/// The pixels of a width x height image that eval_transform() reads.
[[nodiscard]] Box eval_part(int width, int height, const PreprocessOptions& options);

/// The pixels of a width x height image that train_transform() reads, over all views.
[[nodiscard]] Box train_part(int width, int height, const TrainTransformOptions& train,
                             const PreprocessOptions& options, std::uint64_t seed, std::uint64_t g);

/// ((v / 255) - mean) / std in float32, three roundings, HWC to CHW; bit-equal with torchvision's
/// to_tensor and normalize on a CPU. For `simclr` take mean 0 and std 1.
void normalise(std::span<const std::uint8_t> pixels_HWC, int height, int width,
               const std::array<float, 3>& mean, const std::array<float, 3>& std,
               std::span<float> out_CHW);

/// Which random transform preprocess_file() repeats: that of the sample at position `g` of a run.
struct TrainPosition {
  TrainTransformOptions transform;
  std::uint64_t seed = 0;
  std::uint64_t g = 0;
  int view = 0;
};

/// One encoded image file to the float32 CHW that a model sees; `train` absent: as in evaluation.
/// Throws DataError naming the file and why it was refused.
[[nodiscard]] std::vector<float> preprocess_file(
    const std::string& path, const PreprocessOptions& options,
    const std::optional<TrainPosition>& train = std::nullopt);

}  // namespace plumbline
