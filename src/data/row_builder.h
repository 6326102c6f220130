// One sample to one row of a batch: caption to tokens, image to pixels. One builder a thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/queue.h"
#include "data/source.h"
#include "data/thread_note.h"
#include "plumbline/data.h"

namespace plumbline {

/// Images that need more scratch than this take it from a common stock first.
inline constexpr std::size_t kSmallImageBytes = 6 << 20;
/// Bytes a pixel that decoding may need (progressive coefficients and the frame).
inline constexpr std::size_t kBytesPerPixel = 10;

struct RowTarget {
  std::span<std::uint8_t> pixels;  ///< all views of the row
  std::span<std::int32_t> tokens;  ///< empty: no tokens wanted
  std::int64_t* label = nullptr;   ///< null: no label wanted
};

class RowBuilder {
 public:
  /// All arguments outlive the builder.
  RowBuilder(const DataOptions& options, const LoaderContext& context, Credit& large_images,
             ThreadNote& note);

  /// Fills the row for position `g`, or tells why the sample cannot. key() and truncated() then
  /// speak of this sample.
  [[nodiscard]] std::optional<BadSample> build(const Source& source, const SampleRef& ref,
                                               std::span<const std::uint8_t> bytes, std::uint64_t g,
                                               const RowTarget& target);
  [[nodiscard]] const std::string& key() const { return parts_.key; }
  [[nodiscard]] bool truncated() const { return truncated_; }

 private:
  [[nodiscard]] std::optional<BadSample> fill_tokens(const Source& source, const SampleRef& ref,
                                                     std::uint64_t g,
                                                     std::span<std::int32_t> tokens);
  [[nodiscard]] std::optional<BadSample> fill_pixels(std::uint64_t g,
                                                     std::span<std::uint8_t> pixels);
  [[nodiscard]] std::optional<BadSample> decode_and_transform(const ImageInfo& info,
                                                              std::uint64_t g,
                                                              std::span<std::uint8_t> pixels);
  void transform(const Image& image, std::uint64_t g, std::span<std::uint8_t> pixels);

  const DataOptions& options_;
  const LoaderContext& context_;
  Credit& large_images_;
  ThreadNote& note_;
  PreprocessOptions preprocess_;
  ImageDecoder decoder_;
  Image image_;
  ResizeScratch scratch_;
  SampleParts parts_;
  bool truncated_ = false;
};

}  // namespace plumbline
