// Random crops (distribution, fallback, pinned values), train modes, colour, .npy, whole files.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>

#include "core/file.h"
#include "core/philox.h"
#include "image/colour.h"
#include "image/npy.h"
#include "image/resample.h"
#include "plumbline/error.h"
#include "plumbline/image.h"

namespace plumbline {
namespace {

TrainTransformOptions crop_options(double s0, double s1) {
  TrainTransformOptions o;
  o.scale = {s0, s1};
  return o;
}

Image gradient(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (const int v : {x * 3 + y, x + y * 5, x * y}) {
        image.pixels_HWC.push_back(static_cast<std::uint8_t>(v));
      }
    }
  }
  return image;
}

/// The trial rule of the crop, written out a second time from the words of the draws.
Box crop_by_hand(int width, int height, double s0, double s1, std::uint64_t seed, std::uint64_t g) {
  const std::uint64_t stream = derive(seed, Purpose::crop, g);
  for (std::uint32_t t = 0; t < 10; ++t) {
    const Words a = draw(stream, 2 * t);
    const Words b = draw(stream, 2 * t + 1);
    const double area = width * height * (s0 + (s1 - s0) * unit_double(join(a[0], a[1])));
    const double log_low = std::log(0.75);
    const double ratio =
        std::exp(log_low + (std::log(4.0 / 3.0) - log_low) * unit_double(join(a[2], a[3])));
    const long w = std::lrint(std::sqrt(area * ratio));
    const long h = std::lrint(std::sqrt(area / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const auto rows = static_cast<std::uint64_t>(height - h + 1);
    const auto columns = static_cast<std::uint64_t>(width - w + 1);
    return {static_cast<int>(scale_to(join(b[2], b[3]), columns)),
            static_cast<int>(scale_to(join(b[0], b[1]), rows)), static_cast<int>(w),
            static_cast<int>(h)};
  }
  return {};
}

bool same(const Box& a, const Box& b) {
  return a.left == b.left && a.top == b.top && a.width == b.width && a.height == b.height;
}

TEST(RandomResizedCrop, FollowsTheDraws) {
  for (std::uint64_t g = 0; g < 500; ++g) {
    const Box box = random_resized_crop(97, 81, crop_options(0.08, 1.0), 42, g);
    EXPECT_TRUE(same(box, crop_by_hand(97, 81, 0.08, 1.0, 42, g))) << g;
  }
}

TEST(RandomResizedCrop, AreaAspectAndPlaceAreUniform) {
  // Small areas are never rejected, so area and log aspect are uniform: means and variances within
  // five standard errors, and Kolmogorov-Smirnov below the 1e-6 quantile.
  constexpr int kDraws = 20000;
  std::vector<double> areas;
  std::vector<double> aspects;
  std::vector<double> places;
  for (std::uint64_t g = 0; g < kDraws; ++g) {
    const Box b = random_resized_crop(4000, 3000, crop_options(0.08, 0.5), 7, g);
    areas.push_back((b.width * static_cast<double>(b.height) / 12e6 - 0.08) / 0.42);
    aspects.push_back(std::log(b.width / static_cast<double>(b.height) / 0.75) /
                      std::log(16.0 / 9.0));
    places.push_back((b.left + 0.5) / (4001 - b.width));
  }
  for (auto* values : {&areas, &aspects, &places}) {
    std::sort(values->begin(), values->end());
    double distance = 0;
    double sum = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double v = (*values)[static_cast<std::size_t>(i)];
      distance = std::max(distance, std::fabs(v - (i + 0.5) / kDraws));
      sum += v;
    }
    EXPECT_LT(distance, 2.7 / std::sqrt(kDraws));
    EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  }
}

TEST(RandomResizedCrop, FallbackIsTheCentre) {
  // No box of ratio <= 4/3 with 90% of a 1:10 image exists.
  const Box wide = random_resized_crop(1000, 100, crop_options(0.9, 1.0), 1, 2);
  EXPECT_TRUE(same(wide, {(1000 - 133) / 2, 0, 133, 100}));
  const Box tall = random_resized_crop(100, 1001, crop_options(0.9, 1.0), 1, 2);
  EXPECT_TRUE(same(tall, {0, (1001 - 133) / 2, 100, 133}));
  TrainTransformOptions never = crop_options(2.0, 3.0);
  EXPECT_TRUE(same(random_resized_crop(50, 50, never, 1, 2), {0, 0, 50, 50}));
  EXPECT_TRUE(same(random_resized_crop(1, 1, crop_options(0.9, 1.0), 1, 2), {0, 0, 1, 1}));
}

TEST(RandomResizedCrop, YamlRatioMeansFourThirds) {
  TrainTransformOptions yaml = crop_options(0.3, 1.0);
  yaml.ratio = {0.75, 1.3333};
  for (std::uint64_t g = 0; g < 200; ++g) {
    EXPECT_TRUE(same(random_resized_crop(500, 400, yaml, 3, g),
                     random_resized_crop(500, 400, crop_options(0.3, 1.0), 3, g)));
  }
}

TEST(RandomResizedCrop, ViewsDrawFromTwiceG) {
  TrainTransformOptions two = crop_options(0.08, 1.0);
  two.views = 2;
  const TrainTransformOptions one = crop_options(0.08, 1.0);
  EXPECT_TRUE(same(random_resized_crop(300, 200, two, 5, 21, 0),
                   random_resized_crop(300, 200, one, 5, 42)));
  EXPECT_TRUE(same(random_resized_crop(300, 200, two, 5, 21, 1),
                   random_resized_crop(300, 200, one, 5, 43)));
  EXPECT_THROW((void)random_resized_crop(300, 200, one, 5, 21, 1), InternalError);
}

TEST(TrainTransform, CropModeIsCropThenBicubic) {
  const Image image = gradient(90, 70);
  PreprocessOptions o = preprocess_family("siglip", 32);
  o.filter = Filter::bilinear;  // training ignores it
  ResizeScratch scratch;
  std::vector<std::uint8_t> out(32 * 32 * 3);
  std::vector<std::uint8_t> expected(out.size());
  train_transform(image, {}, o, 9, 4, 0, out, scratch);
  const Box box = random_resized_crop(90, 70, {}, 9, 4);
  resize(image, box, 32, 32, Filter::bicubic, o.order, expected, scratch);
  EXPECT_TRUE(out == expected);
}

TEST(TrainTransform, EvalModeAndUnknownMode) {
  const Image image = gradient(90, 70);
  const PreprocessOptions o = preprocess_family("openai", 24);
  ResizeScratch scratch;
  std::vector<std::uint8_t> out(24 * 24 * 3);
  std::vector<std::uint8_t> expected(out.size());
  TrainTransformOptions train;
  train.mode = "eval";
  train_transform(image, train, o, 9, 4, 0, out, scratch);
  eval_transform(image, o, expected, scratch);
  EXPECT_TRUE(out == expected);
  train.mode = "mixup";
  EXPECT_THROW(train_transform(image, train, o, 9, 4, 0, out, scratch), UsageError);
}

TEST(TrainTransform, SimclrIsAPureFunctionWithTheRightShares) {
  const Image image = gradient(80, 80);
  const PreprocessOptions o = preprocess_family("openai", 40);
  TrainTransformOptions train;
  train.mode = "simclr";
  ResizeScratch scratch;
  std::vector<std::uint8_t> out(40 * 40 * 3);
  std::vector<std::uint8_t> again(out.size());
  constexpr int kDraws = 1000;
  int grey = 0;
  std::set<std::string> seen;
  for (std::uint64_t g = 0; g < kDraws; ++g) {
    train_transform(image, train, o, 9, g, 0, out, scratch);
    if (g < 5) {
      train_transform(image, train, o, 9, g, 0, again, scratch);
      EXPECT_TRUE(out == again);
    }
    seen.emplace(out.begin(), out.end());
    bool all_grey = true;
    for (std::size_t i = 0; i < out.size(); i += 3) {
      all_grey = all_grey && out[i] == out[i + 1] && out[i] == out[i + 2];
    }
    grey += all_grey ? 1 : 0;
  }
  EXPECT_EQ(seen.size(), std::size_t{kDraws});
  EXPECT_NEAR(grey / double{kDraws}, 0.2, 5 * std::sqrt(0.16 / kDraws));
}

TEST(TrainTransform, CropFlipsJittersAndGreysWithTheirProbabilities) {
  const Image image = gradient(40, 40);
  const PreprocessOptions o = preprocess_family("openai", 40);
  TrainTransformOptions train;
  train.scale = {1, 1};
  train.ratio = {1, 1};
  ResizeScratch scratch;
  std::vector<std::uint8_t> plain(40 * 40 * 3);
  train_transform(image, train, o, 9, 0, 0, plain, scratch);
  std::vector<std::uint8_t> flipped = plain;
  for (std::size_t y = 0; y < 40; ++y) {
    for (std::size_t x = 0; x < 40; ++x) {
      std::copy_n(&plain[(y * 40 + x) * 3], 3, &flipped[(y * 40 + 39 - x) * 3]);
    }
  }
  const auto share = [&](const auto& counts) {
    std::vector<std::uint8_t> out(plain.size());
    int n = 0;
    for (std::uint64_t g = 0; g < 2000; ++g) {
      train_transform(image, train, o, 9, g, 0, out, scratch);
      n += counts(out) ? 1 : 0;
    }
    return n / 2000.0;
  };
  const double error = 5 * std::sqrt(0.25 / 2000);
  train.flip = 0.3;
  EXPECT_NEAR(share([&](const auto& out) { return out == flipped; }), 0.3, error);
  EXPECT_NEAR(share([&](const auto& out) { return out == plain; }), 0.7, error);
  train.flip = 0;
  train.gray_scale_prob = 0.2;
  EXPECT_NEAR(share([&](const auto& out) { return out != plain; }), 0.2, error);
  train.gray_scale_prob = 0;
  train.color_jitter = {0.4, 0.4, 0.4, 0.1};
  EXPECT_EQ(share([&](const auto& out) { return out != plain; }), 0);
  train.color_jitter_prob = 0.8;
  EXPECT_NEAR(share([&](const auto& out) { return out != plain; }), 0.8, error);
  train.color_jitter = {0.4};
  EXPECT_THROW(train_transform(image, train, o, 9, 0, 0, plain, scratch), Error);
}

TEST(Colour, KnownValues) {
  std::vector<float> rgb = {1.0f, 0.5f, 0.0f};
  adjust_hue(rgb, 1.0f / 3.0f);  // orange to spring green
  EXPECT_NEAR(rgb[0], 0.0, 1e-6);
  EXPECT_NEAR(rgb[1], 1.0, 1e-6);
  EXPECT_NEAR(rgb[2], 0.5, 1e-6);
  rgb = {0.8f, 0.4f, 0.2f};
  adjust_saturation(rgb, 0.0f);
  for (const float v : rgb) EXPECT_NEAR(v, 0.8, 1e-6);
  rgb = {0.8f, 0.4f, 0.2f};
  adjust_brightness(rgb, 1.5f);
  EXPECT_EQ(rgb[0], 1.0f);
  EXPECT_NEAR(rgb[1], 0.6, 1e-6);
  rgb = {0.2f, 0.0f, 1.0f, 0.6f, 0.0f, 1.0f};
  adjust_contrast(rgb, 0.5f);
  EXPECT_NEAR(rgb[0], 0.3, 1e-6);
  EXPECT_NEAR(rgb[3], 0.5, 1e-6);
  EXPECT_EQ(rgb[2], 1.0f);
  rgb = {1.0f, 0.0f, 0.0f};
  make_grey(rgb);
  EXPECT_NEAR(rgb[2], 0.2989, 1e-6);
}

TEST(Colour, HueOfAWholeTurnIsIdentity) {
  for (std::uint32_t i = 0; i < 500; ++i) {
    const Words w = draw(1, i);
    std::vector<float> rgb;
    for (std::size_t c = 0; c < 3; ++c) rgb.push_back(static_cast<float>(w[c] >> 8) * 0x1p-24f);
    std::vector<float> turned = rgb;
    adjust_hue(turned, 1.0f);
    for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(turned[c], rgb[c], 3e-6);
  }
}

TEST(Colour, BlurSpreadsOnePixelAndIsDarkAtTheEdge) {
  std::vector<float> rgb(15 * 15 * 3, 0.0f);
  std::vector<float> scratch(rgb.size());
  rgb[(7 * 15 + 7) * 3 + 1] = 1.0f;
  gaussian_blur(rgb, 15, 15, 5, 1.0, scratch);
  double sum = 0;
  for (const float v : rgb) sum += v;
  EXPECT_NEAR(sum, 1.0, 1e-5);
  const double norm = 1 + 2 * std::exp(-0.5) + 2 * std::exp(-2.0);
  EXPECT_NEAR(rgb[(7 * 15 + 7) * 3 + 1], 1 / (norm * norm), 1e-6);
  EXPECT_NEAR(rgb[(7 * 15 + 9) * 3 + 1], std::exp(-2.0) / (norm * norm), 1e-6);
  EXPECT_EQ(rgb[(7 * 15 + 10) * 3 + 1], 0.0f);
  std::vector<float> white(15 * 15 * 3, 1.0f);
  gaussian_blur(white, 15, 15, 5, 1.0, scratch);
  EXPECT_NEAR(white[(7 * 15 + 7) * 3], 1.0, 1e-6);
  EXPECT_LT(white[0], 0.9);
}

TEST(PreprocessFamily, KnownAndUnknown) {
  EXPECT_EQ(preprocess_family("clipa", 224).filter, Filter::bilinear);
  EXPECT_EQ(preprocess_family("siglip2", 384).mode, ResizeMode::squash);
  EXPECT_EQ(preprocess_family("openai", 224).mean[0], 0.48145466f);
  EXPECT_THROW((void)preprocess_family("imagenet", 224), UsageError);
  EXPECT_THROW((void)preprocess_family("openai", 0), UsageError);
}

TEST(EvalTransform, ExtremeAspectStaysSmall) {
  // Resized whole, 60000 x 1 would be 224 x 13 million pixels.
  Image image{60000, 1, std::vector<std::uint8_t>(180000, 77)};
  ResizeScratch scratch;
  for (const ResizeMode mode : {ResizeMode::shortest, ResizeMode::longest, ResizeMode::squash}) {
    PreprocessOptions o = preprocess_family("openai", 224);
    o.mode = mode;
    std::vector<std::uint8_t> out(224 * 224 * 3);
    eval_transform(image, o, out, scratch);
    EXPECT_EQ(out[(112 * 224 + 112) * 3], mode == ResizeMode::longest ? 0 : 77);
    EXPECT_LT(scratch.state().between_passes.size(), std::size_t{1} << 20);
  }
}

TEST(PreprocessFile, IsTheChainAndNamesBadFiles) {
  const std::string folder = PLUMBLINE_SOURCE_DIR "/tests/golden/image/";
  const PreprocessOptions o = preprocess_family("openai", 20);
  const std::vector<float> eval = preprocess_file(folder + "jpeg-420.jpg", o);
  ASSERT_EQ(eval.size(), 1200U);
  TrainPosition train;
  train.transform.mode = "eval";
  EXPECT_TRUE(preprocess_file(folder + "jpeg-420.jpg", o, train) == eval);
  train.transform.mode = "crop";
  train.g = 3;
  EXPECT_FALSE(preprocess_file(folder + "jpeg-420.jpg", o, train) == eval);
  try {
    (void)preprocess_file(folder + "expected.json", o);
    FAIL() << "a JSON file was accepted as an image";
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find("expected.json"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("unsupported"), std::string::npos) << e.what();
  }
}

TEST(Npy, HeaderAndValues) {
  const auto path = std::filesystem::temp_directory_path() / "plumbline-npy-test.npy";
  const std::vector<float> values = {1.0f, 2.5f, -3.0f, 0.0f, 1e-9f, 7.0f};
  write_npy(path.string(), values, std::vector<std::int64_t>{3, 1, 2});
  const std::string bytes = read_file(path.string());
  std::filesystem::remove(path);
  ASSERT_EQ(bytes.size() % 64, 24U);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_NE(bytes.find("'<f4', 'fortran_order': False, 'shape': (3,1,2,)"), std::string::npos);
  EXPECT_EQ(bytes[bytes.size() - 25], '\n');
  EXPECT_EQ(std::memcmp(bytes.data() + bytes.size() - 24, values.data(), 24), 0);
  EXPECT_THROW(write_npy(path.string(), values, std::vector<std::int64_t>{5}), InternalError);
}

}  // namespace
}  // namespace plumbline
