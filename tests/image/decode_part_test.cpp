// Decoding of a part: the pixels of the whole decode, whatever the sampling, scans, damage or part.
#include <gtest/gtest.h>

#include "core/philox.h"
#include "jpeg_samplings.h"
#include "plumbline/image.h"

namespace plumbline {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// Nothing but the part may decide a result, so all else is wrong here.
void spoil(Image& image, int width, int height) {
  image.width = width;
  image.height = height;
  image.pixels_HWC.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3,
                          0xcd);
}

/// Refused, equal or different.
enum class Outcome { refused, equal, different };
Outcome compare(ImageDecoder& decoder, const Bytes& bytes, const Box& part, const Image& whole) {
  Image image;
  spoil(image, whole.width, whole.height);
  if (decoder.decode_part(bytes, part, image)) return Outcome::refused;
  for (int y = part.top; y < part.top + part.height; ++y) {
    const auto from = (std::ptrdiff_t{y} * whole.width + part.left) * 3;
    if (!std::equal(image.pixels_HWC.begin() + from,
                    image.pixels_HWC.begin() + from + std::ptrdiff_t{3} * part.width,
                    whole.pixels_HWC.begin() + from)) {
      return Outcome::different;
    }
  }
  return Outcome::equal;
}

Box random_part(const Image& image, std::uint32_t i) {
  const Words w = draw(5, i);
  const auto below = [](std::uint32_t bits, int n) {
    return static_cast<int>(bits % static_cast<std::uint32_t>(n));
  };
  Box part;
  part.left = below(w[0], image.width);
  part.top = below(w[1], image.height);
  part.width = 1 + below(w[2], image.width - part.left);
  part.height = 1 + below(w[3], image.height - part.top);
  return part;
}

std::vector<JpegOptions> all_options() {
  std::vector<JpegOptions> all;
  for (const bool progressive : {false, true}) {
    for (const int horizontal : {1, 2, 4}) {
      for (const int vertical : {1, 2}) {
        JpegOptions o;
        o.horizontal = horizontal;
        o.vertical = vertical;
        o.progressive = progressive;
        all.push_back(o);
        o.restart_rows = 1;
        all.push_back(o);
        o.quality = 40;
        if (horizontal < 4) o.chroma_vertical = vertical;  // else over ten blocks a unit
        all.push_back(o);
      }
    }
  }
  JpegOptions ycck;
  ycck.ycck = true;
  all.push_back(ycck);
  return all;
}

TEST(DecodePart, EqualsTheWhole) {
  ImageDecoder decoder;
  std::uint32_t n = 0;
  for (const JpegOptions& options : all_options()) {
    for (const auto& [width, height] :
         {std::pair(203, 157), std::pair(64, 96), std::pair(17, 120)}) {
      const Bytes jpeg = write_jpeg(width, height, options);
      Image whole;
      ASSERT_FALSE(decoder.decode(jpeg, whole));
      for (int i = 0; i < 25; ++i) {
        const Box part = random_part(whole, n++);
        ASSERT_EQ(compare(decoder, jpeg, part, whole), Outcome::equal)
            << width << 'x' << height << " sampled " << options.horizontal << 'x'
            << options.vertical << " over " << options.chroma_vertical << ", progressive "
            << options.progressive << ", part " << part.left << ' ' << part.top << ' ' << part.width
            << ' ' << part.height;
      }
    }
  }
}

/// A part never refuses what the whole accepts, and never gives other pixels; it may accept what
/// is damaged behind it.
TEST(DecodePart, DamageChangesNoPixel) {
  ImageDecoder decoder;
  std::uint32_t n = 1U << 20;
  int accepted = 0;
  for (const JpegOptions& options : all_options()) {
    const Bytes jpeg = write_jpeg(203, 157, options);
    for (int round = 0; round < 40; ++round, ++n) {
      Bytes bad = jpeg;
      const Words w = draw(6, n);
      bad[w[0] % bad.size()] ^= static_cast<std::uint8_t>(1U << (w[1] % 8));
      Image whole;
      if (decoder.decode(bad, whole)) continue;
      ++accepted;
      EXPECT_EQ(compare(decoder, bad, random_part(whole, n), whole), Outcome::equal) << n;
    }
  }
  EXPECT_GT(accepted, 300);
}

TEST(DecodePart, MissingEndIsRefused) {
  ImageDecoder decoder;
  Image image;
  Bytes jpeg = write_jpeg(203, 157, {});
  jpeg.resize(jpeg.size() - 2);
  EXPECT_TRUE(decoder.decode_part(jpeg, {0, 0, 203, 8}, image));
  jpeg.insert(jpeg.begin() + 2, {0xff, 0xfe, 0, 4, 0xff, 0xd9});  // a comment is no end
  EXPECT_TRUE(decoder.decode_part(jpeg, {0, 0, 203, 8}, image));
}

/// Both transforms of the spoiled image that holds only what they say they read.
TEST(DecodePart, HoldsWhatTransformsRead) {
  ImageDecoder decoder;
  ResizeScratch scratch;
  std::vector<std::uint8_t> expected(48 * 40 * 3), made(expected.size());
  for (const auto& [width, height] : {std::pair(203, 97), std::pair(90, 241), std::pair(60, 50)}) {
    const Bytes jpeg = write_jpeg(width, height, {});
    Image whole, image;
    ASSERT_FALSE(decoder.decode(jpeg, whole));
    for (const ResizeMode mode : {ResizeMode::shortest, ResizeMode::longest, ResizeMode::squash}) {
      PreprocessOptions o = preprocess_family("openai", 48);
      o.height = 40;
      o.mode = mode;
      spoil(image, width, height);
      ASSERT_FALSE(decoder.decode_part(jpeg, eval_part(width, height, o), image));
      eval_transform(whole, o, expected, scratch);
      eval_transform(image, o, made, scratch);
      EXPECT_TRUE(made == expected) << width << 'x' << height;
      for (const char* train_mode : {"crop", "eval", "simclr"}) {
        TrainTransformOptions train;
        train.mode = train_mode;
        train.views = 2;
        spoil(image, width, height);
        ASSERT_FALSE(decoder.decode_part(jpeg, train_part(width, height, train, o, 3, 9), image));
        for (int view = 0; view < 2; ++view) {
          train_transform(whole, train, o, 3, 9, view, expected, scratch);
          train_transform(image, train, o, 3, 9, view, made, scratch);
          EXPECT_TRUE(made == expected) << width << 'x' << height << ' ' << train_mode;
        }
      }
    }
  }
}

}  // namespace
}  // namespace plumbline
