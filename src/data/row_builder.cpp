#include "data/row_builder.h"

#include <stdexcept>
#include <utility>

#include "plumbline/error.h"

namespace plumbline {
namespace {

/// Adds its life to a part of the work.
class PartTimer {
 public:
  PartTimer(ThreadNote& note, BuildPart part) : note_(note), part_(part) {}
  ~PartTimer() { note_.add(part_, ThreadNote::now_ns() - start_); }
  PartTimer(const PartTimer&) = delete;
  PartTimer& operator=(const PartTimer&) = delete;

 private:
  ThreadNote& note_;
  BuildPart part_;
  std::int64_t start_ = ThreadNote::now_ns();
};

}  // namespace

RowBuilder::RowBuilder(const DataOptions& options, const LoaderContext& context,
                       Credit& large_images, ThreadNote& note)
    : options_(options),
      context_(context),
      large_images_(large_images),
      note_(note),
      preprocess_(context.preprocess),
      decoder_(options.limits) {
  preprocess_.order = options.resize_order;
}

std::optional<BadSample> RowBuilder::build(const Source& source, const SampleRef& ref,
                                           std::span<const std::uint8_t> bytes, std::uint64_t g,
                                           const RowTarget& target) {
  truncated_ = false;
  if (auto bad = source.take_apart(ref, bytes, parts_)) return bad;
  if (!target.tokens.empty()) {
    if (auto bad = fill_tokens(source, ref, g, target.tokens)) return bad;
  }
  if (target.label) {
    auto label = source.label(ref, parts_, context_.classes, context_.seed, g);
    if (auto* bad = std::get_if<BadSample>(&label)) return std::move(*bad);
    *target.label = std::get<std::int64_t>(label);
  }
  return fill_pixels(g, target.pixels);
}

std::optional<BadSample> RowBuilder::fill_tokens(const Source& source, const SampleRef& ref,
                                                 std::uint64_t g, std::span<std::int32_t> tokens) {
  const PartTimer timer(note_, BuildPart::text);
  try {
    auto caption = source.caption(ref, parts_, context_.seed, g);
    if (auto* bad = std::get_if<BadSample>(&caption)) return std::move(*bad);
    const int ids = context_.tokenizer->encode(std::get<std::string>(caption), tokens);
    truncated_ = ids > context_.tokenizer->context_length();
  } catch (const std::invalid_argument& error) {
    return BadSample{BadSampleClass::tokenizer, error.what()};
  }
  return std::nullopt;
}

void RowBuilder::transform(const Image& image, std::uint64_t g, std::span<std::uint8_t> pixels) {
  const PartTimer timer(note_, BuildPart::resize);
  const auto views = static_cast<std::size_t>(options_.train_transform.views);
  const std::size_t bytes = pixels.size() / views;
  for (std::size_t view = 0; view < views; ++view) {
    train_transform(image, options_.train_transform, preprocess_, context_.seed, g,
                    static_cast<int>(view), pixels.subspan(view * bytes, bytes), scratch_);
  }
}

std::optional<BadSample> RowBuilder::decode_and_transform(const ImageInfo& info, std::uint64_t g,
                                                          std::span<std::uint8_t> pixels) {
  {
    const PartTimer timer(note_, BuildPart::decode);
    const Box part = train_part(info.width, info.height, options_.train_transform, preprocess_,
                                context_.seed, g);
    if (auto bad = decoder_.decode_part(parts_.image, part, image_)) return bad;
  }
  transform(image_, g, pixels);
  return std::nullopt;
}

std::optional<BadSample> RowBuilder::fill_pixels(std::uint64_t g, std::span<std::uint8_t> pixels) {
  if (parts_.image.empty()) {
    transform(parts_.pixels, g, pixels);
    return std::nullopt;
  }
  auto probed = probe_image(parts_.image, options_.limits);
  if (auto* bad = std::get_if<BadSample>(&probed)) return std::move(*bad);
  const auto& info = std::get<ImageInfo>(probed);
  const std::size_t needed =
      kBytesPerPixel * static_cast<std::size_t>(info.width) * static_cast<std::size_t>(info.height);
  if (needed <= kSmallImageBytes) return decode_and_transform(info, g, pixels);

  note_.doing(Doing::memory);
  const std::size_t taken = large_images_.take(needed);
  note_.doing(Doing::working);
  auto result = decode_and_transform(info, g, pixels);
  // The stock covers this image only while it lives.
  image_ = Image();
  scratch_ = ResizeScratch();
  large_images_.give_back(taken);
  return result;
}

}  // namespace plumbline
