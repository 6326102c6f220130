// Refusals: limits before allocation, foreign formats, truncation, flipped bits, too many scans.
#include <gtest/gtest.h>

#include <filesystem>

#include "core/file.h"
#include "core/philox.h"
#include "jpeg_samplings.h"
#include "plumbline/image.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

std::vector<fs::path> golden_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(PLUMBLINE_SOURCE_DIR "/tests/golden/image")) {
    if (entry.path().extension() != ".json") files.push_back(entry.path());
  }
  return files;
}

Bytes golden(const std::string& name) {
  return bytes_of(read_file(PLUMBLINE_SOURCE_DIR "/tests/golden/image/" + name));
}

std::optional<BadSampleClass> refusal(const Bytes& bytes, const DecodeLimits& limits = {}) {
  Image image;
  const auto bad = ImageDecoder(limits).decode(bytes, image);
  if (!bad) return std::nullopt;
  EXPECT_FALSE(bad->message.empty());
  return bad->reason;
}

TEST(ImageDecoder, RefusesWhatIsNoImage) {
  EXPECT_EQ(refusal({}), BadSampleClass::decode);
  EXPECT_EQ(refusal(bytes_of("GIF89a...........")), BadSampleClass::unsupported);
  EXPECT_EQ(refusal({0xff, 0xd8, 0xff}), BadSampleClass::decode);
  EXPECT_EQ(refusal(bytes_of(std::string("\x89PNG\r\n\x1a\n", 8))), BadSampleClass::decode);
  EXPECT_EQ(refusal(bytes_of(std::string("RIFF\x04\0\0\0WEBP", 12))), BadSampleClass::decode);
}

TEST(ImageDecoder, LimitsHoldForEveryFormat) {
  for (const char* name :
       {"jpeg-420.jpg", "png-c2-d8.png", "webp-lossy.webp", "webp-animated.webp"}) {
    const Bytes bytes = golden(name);
    DecodeLimits small;
    EXPECT_EQ(refusal(bytes, small), std::nullopt) << name;
    small.max_pixels = 10;
    EXPECT_EQ(refusal(bytes, small), BadSampleClass::too_large) << name;
    EXPECT_EQ(std::get<BadSample>(probe_image(bytes, small)).reason, BadSampleClass::too_large);
    DecodeLimits narrow;
    narrow.max_side = 2;
    EXPECT_EQ(refusal(bytes, narrow), BadSampleClass::too_large) << name;
    DecodeLimits short_file;
    short_file.max_bytes = 20;
    EXPECT_EQ(refusal(bytes, short_file), BadSampleClass::too_large) << name;
  }
}

TEST(ImageDecoder, GateComesBeforeAllocation) {
  Bytes bytes = golden("png-c2-d8.png");
  for (std::size_t i = 16; i < 24; ++i) bytes[i] = i % 4 == 0 ? 0x7f : 0xff;  // 2^31 - 1 squared
  EXPECT_EQ(refusal(bytes), BadSampleClass::too_large);
  Bytes jpeg = golden("jpeg-420.jpg");
  for (std::size_t i = 0; i + 9 < jpeg.size(); ++i) {
    if (jpeg[i] == 0xff && jpeg[i + 1] == 0xc0) {
      jpeg[i + 5] = jpeg[i + 6] = jpeg[i + 7] = jpeg[i + 8] = 0xfe;
      break;
    }
  }
  EXPECT_EQ(refusal(jpeg), BadSampleClass::too_large);
}

TEST(ImageDecoder, ProbeAgreesWithDecode) {
  for (const fs::path& path : golden_files()) {
    const Bytes bytes = bytes_of(read_file(path.string()));
    Image image;
    const auto bad = ImageDecoder().decode(bytes, image);
    if (bad) continue;
    const auto probed = probe_image(bytes);
    ASSERT_TRUE(std::holds_alternative<ImageInfo>(probed)) << path;
    EXPECT_EQ(std::get<ImageInfo>(probed).width, image.width) << path;
    EXPECT_EQ(std::get<ImageInfo>(probed).height, image.height) << path;
  }
}

TEST(ImageDecoder, TruncationIsNeverAccepted) {
  ImageDecoder decoder;
  Image image;
  for (const fs::path& path : golden_files()) {
    const Bytes bytes = bytes_of(read_file(path.string()));
    if (path.filename() == "webp-animated.webp") continue;  // its first frame may be whole
    for (std::size_t part = 0; part < 20; ++part) {
      const Bytes cut(bytes.begin(),
                      bytes.begin() + static_cast<std::ptrdiff_t>(bytes.size() * part / 20));
      EXPECT_TRUE(decoder.decode(cut, image).has_value()) << path << " cut at " << part << "/20";
    }
    EXPECT_FALSE(decoder.decode(bytes, image).has_value()) << path << " after refusals";
  }
}

TEST(ImageDecoder, MissingEndMarkersAreRefused) {
  Bytes jpeg = golden("jpeg-420.jpg");
  jpeg.resize(jpeg.size() - 2);
  EXPECT_EQ(refusal(jpeg), BadSampleClass::decode) << "no EOI";
  Bytes png = golden("png-c2-d8.png");
  png.resize(png.size() - 12);
  EXPECT_EQ(refusal(png), BadSampleClass::decode) << "no IEND";
}

TEST(ImageDecoder, PngChecksumOfDataCounts) {
  Bytes png = golden("png-c2-d8.png");
  png[png.size() - 13] ^= 1;  // the last byte of the CRC of the last IDAT
  EXPECT_EQ(refusal(png), BadSampleClass::decode);
}

TEST(ImageDecoder, TrailingBytesAreFine) {
  for (const char* name : {"jpeg-420.jpg", "png-c2-d8.png"}) {
    Bytes bytes = golden(name);
    bytes.insert(bytes.end(), 100, 0x55);
    EXPECT_EQ(refusal(bytes), std::nullopt) << name;
  }
}

TEST(ImageDecoder, SurvivesFlippedBits) {
  ImageDecoder decoder;
  Image image;
  std::uint32_t i = 0;
  for (const fs::path& path : golden_files()) {
    const Bytes bytes = bytes_of(read_file(path.string()));
    for (int round = 0; round < 100; ++round) {
      Bytes bad = bytes;
      const Words w = draw(3, i++);
      for (std::size_t flip = 0; flip < 1 + w[3] % 3; ++flip) {
        bad[w[flip] % bad.size()] ^= static_cast<std::uint8_t>(1U << (w[flip] >> 29));
      }
      (void)probe_image(bad);
      if (decoder.decode(bad, image)) continue;
      EXPECT_EQ(image.pixels_HWC.size(),
                static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
    }
  }
}

TEST(ImageDecoder, RefusesMoreThan100Scans) {
  // The last scan of a progressive file, repeated.
  const Bytes jpeg = write_jpeg(16, 16, {2, 2, 1, true});
  std::size_t last_scan = 0;
  for (std::size_t i = 0; i + 1 < jpeg.size(); ++i) {
    if (jpeg[i] == 0xff && jpeg[i + 1] == 0xda) last_scan = i;
  }
  ASSERT_GT(last_scan, 0U);
  const Bytes scan(jpeg.begin() + static_cast<std::ptrdiff_t>(last_scan), jpeg.end() - 2);
  Bytes bomb(jpeg.begin(), jpeg.end() - 2);
  for (int i = 0; i < 200; ++i) bomb.insert(bomb.end(), scan.begin(), scan.end());
  bomb.insert(bomb.end(), {0xff, 0xd9});
  Image image;
  const auto bad = ImageDecoder().decode(bomb, image);
  ASSERT_TRUE(bad.has_value());
  EXPECT_EQ(bad->reason, BadSampleClass::decode);
  EXPECT_NE(bad->message.find("100 scans"), std::string::npos) << bad->message;
}

TEST(ImageDecoder, Grey16Shift) {
  const Bytes png = golden("png-c0-d16.png");
  Image clipped;
  Image shifted;
  ASSERT_FALSE(ImageDecoder().decode(png, clipped));
  ASSERT_FALSE(ImageDecoder({}, Grey16::shift).decode(png, shifted));
  int small = 0;
  for (std::size_t i = 0; i < clipped.pixels_HWC.size(); ++i) {
    if (clipped.pixels_HWC[i] < 255) {
      EXPECT_EQ(shifted.pixels_HWC[i], 0);
      ++small;
    }
  }
  EXPECT_GT(small, 10);
  EXPECT_FALSE(shifted.pixels_HWC == clipped.pixels_HWC);
}

TEST(ImageDecoder, CountsWarnedImages) {
  Bytes jpeg = golden("jpeg-420.jpg");
  ImageDecoder decoder;
  Image image;
  ASSERT_FALSE(decoder.decode(jpeg, image));
  EXPECT_EQ(decoder.warned(), 0);
  jpeg.insert(jpeg.end() - 2, 40, 0x12);  // bytes between the last scan and EOI
  ASSERT_FALSE(decoder.decode(jpeg, image));
  EXPECT_EQ(decoder.warned(), 1);
}

}  // namespace
}  // namespace plumbline
