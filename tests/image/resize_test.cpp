// AVX2 and AVX-512 against the scalar reference, windows against the whole, known values, limits.
#include <gtest/gtest.h>

#include "core/philox.h"
#include "image/resample.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

Image noise(int width, int height, std::uint64_t key) {
  Image image{width, height, {}};
  image.pixels_HWC.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  std::uint32_t i = 0;
  for (std::uint8_t& v : image.pixels_HWC) {
    // Mostly extreme values, so that overshoot clips.
    const std::uint32_t bits = draw(key, i++)[0];
    v = bits % 3 == 0 ? static_cast<std::uint8_t>(bits >> 24) : bits % 3 == 1 ? 0 : 255;
  }
  return image;
}

std::vector<std::uint8_t> resized(const Image& image, const Box& box, int width, int height,
                                  const Window& window, Filter filter, ResizeOrder order,
                                  Simd simd) {
  ResizeScratch scratch;
  std::vector<std::uint8_t> out(static_cast<std::size_t>(window.width) *
                                static_cast<std::size_t>(window.height) * 3);
  resize_window(image, box, width, height, window, filter, order, out,
                std::ptrdiff_t{3} * window.width, scratch, simd);
  return out;
}

struct Case {
  Image image;
  Box box;
  int width, height;
  Filter filter;
  ResizeOrder order;
};

/// A random integer in [1, n].
int up_to(const Words& words, std::size_t i, int n) {
  return 1 + static_cast<int>(words[i] % static_cast<std::uint32_t>(n));
}

Case random_case(std::uint32_t i) {
  const Words a = draw(77, 3 * i);
  const Words b = draw(77, 3 * i + 1);
  const Words c = draw(77, 3 * i + 2);
  Case k{noise(up_to(a, 0, 150), up_to(a, 1, 150), i),
         {},
         up_to(a, 2, 130),
         up_to(a, 3, 130),
         c[0] % 3 == 0 ? Filter::bilinear : Filter::bicubic,
         c[1] % 2 == 0 ? ResizeOrder::pillow13 : ResizeOrder::horizontal};
  k.box.width = up_to(b, 0, k.image.width);
  k.box.height = up_to(b, 1, k.image.height);
  k.box.left = up_to(b, 2, k.image.width - k.box.width + 1) - 1;
  k.box.top = up_to(b, 3, k.image.height - k.box.height + 1) - 1;
  return k;
}

class ResizeSimd : public testing::TestWithParam<Simd> {
 protected:
  void SetUp() override {
    if (GetParam() > best_simd()) GTEST_SKIP() << "the processor lacks these instructions";
  }
};
INSTANTIATE_TEST_SUITE_P(All, ResizeSimd, testing::Values(Simd::avx2, Simd::avx512),
                         [](const auto& tested) {
                           return tested.param == Simd::avx2 ? "Avx2" : "Avx512";
                         });

TEST_P(ResizeSimd, EqualsScalar) {
  for (std::uint32_t i = 0; i < 300; ++i) {
    const Case k = random_case(i);
    const Window all{0, 0, k.width, k.height};
    EXPECT_TRUE(resized(k.image, k.box, k.width, k.height, all, k.filter, k.order, GetParam()) ==
                resized(k.image, k.box, k.width, k.height, all, k.filter, k.order, Simd::none))
        << "case " << i << ": " << k.box.width << 'x' << k.box.height << " to " << k.width << 'x'
        << k.height;
  }
}

TEST_P(ResizeSimd, EqualsScalarAtEveryScale) {
  for (int out = 1; out <= 400; out += 1 + out / 8) {
    const Image image = noise(257, 33, static_cast<std::uint64_t>(out));
    const Box box{1, 0, 256, 33};
    for (const int rows : {33, 20}) {
      const Window all{0, 0, out, rows};
      EXPECT_TRUE(resized(image, box, out, rows, all, Filter::bicubic, ResizeOrder::horizontal,
                          GetParam()) == resized(image, box, out, rows, all, Filter::bicubic,
                                                 ResizeOrder::horizontal, Simd::none))
          << "256 to " << out << ", 33 to " << rows;
    }
  }
}

TEST_P(ResizeSimd, EqualsScalarUpToTheSplitLimit) {
  // White pixels and the largest tap counts: the sums come nearest to 2^31.
  for (const int in : {620, 630, 640, 650, 1500}) {
    Image image{in, in, std::vector<std::uint8_t>(static_cast<std::size_t>(in * in) * 3, 255)};
    for (std::size_t i = 0; i < image.pixels_HWC.size(); i += 97) image.pixels_HWC[i] = 3;
    const Box box{0, 0, in, in};
    for (const int out : {10, 30}) {
      const Window all{0, 0, out, out};
      EXPECT_TRUE(
          resized(image, box, out, out, all, Filter::bicubic, ResizeOrder::pillow13, GetParam()) ==
          resized(image, box, out, out, all, Filter::bicubic, ResizeOrder::pillow13, Simd::none))
          << in << " to " << out;
    }
  }
}

TEST(Resize, WindowIsPartOfTheWhole) {
  for (std::uint32_t i = 0; i < 60; ++i) {
    const Case k = random_case(1000 + i);
    const Words w = draw(99, i);
    Window part{0, 0, up_to(w, 0, k.width), up_to(w, 1, k.height)};
    part.left = up_to(w, 2, k.width - part.width + 1) - 1;
    part.top = up_to(w, 3, k.height - part.height + 1) - 1;
    const auto whole = resized(k.image, k.box, k.width, k.height, {0, 0, k.width, k.height},
                               k.filter, k.order, best_simd());
    const auto cut =
        resized(k.image, k.box, k.width, k.height, part, k.filter, k.order, best_simd());
    for (int y = 0; y < part.height; ++y) {
      const auto row = whole.begin() + ((part.top + y) * k.width + part.left) * 3;
      EXPECT_TRUE(std::equal(row, row + part.width * 3, cut.begin() + y * part.width * 3))
          << "case " << i << " row " << y;
    }
  }
}

TEST(Resize, ConstantStaysConstantAndSameSizeCopies) {
  Image grey{31, 17, std::vector<std::uint8_t>(31 * 17 * 3, 200)};
  for (const std::uint8_t v : resized(grey, {0, 0, 31, 17}, 50, 9, {0, 0, 50, 9}, Filter::bicubic,
                                      ResizeOrder::pillow13, best_simd())) {
    ASSERT_EQ(v, 200);
  }
  const Image image = noise(13, 11, 5);
  EXPECT_TRUE(resized(image, {0, 0, 13, 11}, 13, 11, {0, 0, 13, 11}, Filter::bicubic,
                      ResizeOrder::pillow13, best_simd()) == image.pixels_HWC);
}

TEST(Resize, ScratchDoesNotLeakBetweenSizes) {
  ResizeScratch scratch;
  for (int round = 0; round < 2; ++round) {
    for (std::uint32_t i = 0; i < 20; ++i) {
      const Case k = random_case(i);
      std::vector<std::uint8_t> out(static_cast<std::size_t>(k.width * k.height) * 3);
      resize(k.image, k.box, k.width, k.height, k.filter, k.order, out, scratch);
      EXPECT_TRUE(out == resized(k.image, k.box, k.width, k.height, {0, 0, k.width, k.height},
                                 k.filter, k.order, Simd::none));
    }
  }
}

TEST(Resize, RefusesBoxesOutsideTheImage) {
  const Image image = noise(4, 4, 1);
  ResizeScratch scratch;
  std::vector<std::uint8_t> out(12);
  EXPECT_THROW(
      resize(image, {1, 0, 4, 4}, 2, 2, Filter::bicubic, ResizeOrder::pillow13, out, scratch),
      InternalError);
  EXPECT_THROW(
      resize(image, {0, 0, 4, 4}, 3, 2, Filter::bicubic, ResizeOrder::pillow13, out, scratch),
      InternalError);
}

}  // namespace
}  // namespace plumbline
