// preprocess_image: the CPU reference against the formula written another way, the CUDA kernel
// against the CPU reference bit for bit.
#include "kernels/preprocess_image/preprocess_image.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "plumbline/error.h"
#ifdef PLUMBLINE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace plumbline {
namespace {

constexpr std::array<float, 3> kMean = {0.48145466f, 0.4578275f, 0.40821073f};
constexpr std::array<float, 3> kStd = {0.26862954f, 0.26130258f, 0.27577711f};

std::vector<std::uint8_t> noise(std::int64_t size) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  std::uint32_t state = 12345;
  for (std::uint8_t& v : bytes) {
    state = state * 1664525U + 1013904223U;
    v = static_cast<std::uint8_t>(state >> 24);
  }
  return bytes;
}

PreprocessImageParams params(std::int64_t batch, std::int64_t height, std::int64_t width,
                             PixelType type) {
  PreprocessImageParams p;
  p.type = type;
  p.batch = batch;
  p.height = height;
  p.width = width;
  p.mean = kMean;
  p.std = kStd;
  return p;
}

std::int64_t values_of(const PreprocessImageParams& p) { return p.batch * p.height * p.width * 3; }
std::int64_t bytes_of(const PreprocessImageParams& p) {
  return values_of(p) * (p.type == PixelType::float32 ? 4 : 2);
}

/// Runs the reference on host memory and returns the bytes of its output.
std::vector<std::uint8_t> reference(PreprocessImageParams p, const std::vector<std::uint8_t>& in) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(bytes_of(p)));
  p.pixels_BHWC = in.data();
  p.out_BCHW = out.data();
  cpu::preprocess_image(p);
  return out;
}

TEST(NormaliseTable, IsTheFormulaWithThreeRoundings) {
  const NormaliseTable table = normalise_table(kMean, kStd);
  for (std::size_t c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v) {
      // Each operation in long double, rounded to float: innocuous double rounding (64 >= 2*24+2).
      const auto unit = static_cast<float>(static_cast<long double>(v) / 255.0L);
      const auto centred = static_cast<float>(static_cast<long double>(unit) - kMean[c]);
      const auto expected = static_cast<float>(static_cast<long double>(centred) / kStd[c]);
      EXPECT_EQ(table[c][static_cast<std::size_t>(v)], expected) << c << ' ' << v;
    }
  }
}

TEST(NormaliseTable, DiffersFromTheFastFormulas) {
  const NormaliseTable table = normalise_table(kMean, kStd);
  int differ = 0;
  for (std::size_t v = 0; v < 256; ++v) {
    const float fast = (static_cast<float>(v) * (1.0f / 255.0f) - kMean[0]) / kStd[0];
    differ += fast != table[0][v] ? 1 : 0;
  }
  EXPECT_GT(differ, 50) << "the test data could not tell the formulas apart";
}

TEST(Bfloat16Bits, RoundsHalfToEven) {
  EXPECT_EQ(bfloat16_bits(1.0f), 0x3f80);
  EXPECT_EQ(bfloat16_bits(std::bit_cast<float>(0x3f808000U)), 0x3f80);  // half: down to even
  EXPECT_EQ(bfloat16_bits(std::bit_cast<float>(0x3f818000U)), 0x3f82);  // half: up to even
  EXPECT_EQ(bfloat16_bits(std::bit_cast<float>(0x3f808001U)), 0x3f81);
  EXPECT_EQ(bfloat16_bits(-std::numeric_limits<float>::infinity()), 0xff80);
  EXPECT_EQ(bfloat16_bits(std::bit_cast<float>(0x7f800001U)), 0x7fc0);  // NaN stays NaN
}

TEST(PreprocessImage, MovesHwcToChw) {
  const PreprocessImageParams p = params(2, 3, 5, PixelType::float32);
  const std::vector<std::uint8_t> in = noise(values_of(p));
  const std::vector<std::uint8_t> bytes = reference(p, in);
  std::vector<float> out(static_cast<std::size_t>(values_of(p)));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  const NormaliseTable table = normalise_table(kMean, kStd);
  for (std::size_t b = 0; b < 2; ++b) {
    for (std::size_t y = 0; y < 3; ++y) {
      for (std::size_t x = 0; x < 5; ++x) {
        for (std::size_t c = 0; c < 3; ++c) {
          EXPECT_EQ(out[((b * 3 + c) * 3 + y) * 5 + x],
                    table[c][in[((b * 3 + y) * 5 + x) * 3 + c]]);
        }
      }
    }
  }
}

TEST(PreprocessImage, Bfloat16IsTheRoundedFloat) {
  const std::vector<std::uint8_t> in = noise(7 * 9 * 3);
  const auto half = reference(params(1, 7, 9, PixelType::bfloat16), in);
  const auto full = reference(params(1, 7, 9, PixelType::float32), in);
  for (std::size_t i = 0; i < in.size(); ++i) {
    float f = 0;
    std::uint16_t h = 0;
    std::memcpy(&f, &full[4 * i], 4);
    std::memcpy(&h, &half[2 * i], 2);
    EXPECT_EQ(h, bfloat16_bits(f));
    EXPECT_NEAR(std::bit_cast<float>(static_cast<std::uint32_t>(h) << 16), f, std::abs(f) / 256);
  }
}

TEST(PreprocessImage, RefusesBadParams) {
  PreprocessImageParams p = params(1, 2, 3, PixelType::float32);
  try {
    cpu::preprocess_image(p);
    FAIL() << "a null pointer was accepted";
  } catch (const InternalError& e) {
    EXPECT_NE(std::string(e.what()).find("[1, 2, 3, 3]"), std::string::npos) << e.what();
  }
  p.batch = -1;
  EXPECT_THROW(cpu::preprocess_image(p), InternalError);
  p.batch = 0;
  EXPECT_NO_THROW(cpu::preprocess_image(p));
  EXPECT_THROW(cuda::preprocess_image(params(1, 1, 1, PixelType::float32), nullptr), Error);
}

#ifdef PLUMBLINE_HAS_CUDA

/// Device memory with 256 guard bytes on either side of the part that a test uses.
class GuardedMemory {
 public:
  static constexpr std::size_t kGuard = 256;
  explicit GuardedMemory(std::int64_t bytes) : bytes_(static_cast<std::size_t>(bytes)) {
    if (cudaMalloc(&base_, bytes_ + 2 * kGuard) != cudaSuccess) throw std::bad_alloc();
    (void)cudaMemset(base_, 0xa5, bytes_ + 2 * kGuard);
  }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  ~GuardedMemory() { (void)cudaFree(base_); }
  [[nodiscard]] std::uint8_t* data() const { return static_cast<std::uint8_t*>(base_) + kGuard; }
  void put(const std::vector<std::uint8_t>& host) {
    ASSERT_EQ(cudaMemcpy(data(), host.data(), host.size(), cudaMemcpyHostToDevice), cudaSuccess);
  }
  /// The contents; fails the test when a guard byte changed.
  [[nodiscard]] std::vector<std::uint8_t> get() const {
    std::vector<std::uint8_t> all(bytes_ + 2 * kGuard);
    EXPECT_EQ(cudaMemcpy(all.data(), base_, all.size(), cudaMemcpyDeviceToHost), cudaSuccess);
    for (std::size_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(all[i], 0xa5) << "guard before, byte " << i;
      EXPECT_EQ(all[kGuard + bytes_ + i], 0xa5) << "guard after, byte " << i;
    }
    return {all.begin() + kGuard, all.begin() + static_cast<std::ptrdiff_t>(kGuard + bytes_)};
  }

 private:
  void* base_ = nullptr;
  std::size_t bytes_;
};

bool no_device() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0;
}

struct Shape {
  std::int64_t batch, height, width;
};

/// 1, odd, around a group of 16 pixels, around a block of 256 threads, real sizes.
const Shape kShapes[] = {{1, 1, 1},     {1, 1, 2},     {3, 1, 15},     {3, 1, 16},
                         {3, 1, 17},    {2, 7, 9},     {5, 2, 2},      {2, 31, 33},
                         {1, 64, 63},   {1, 64, 64},   {1, 64, 65},    {7, 32, 32},
                         {2, 255, 257}, {3, 378, 378}, {65, 224, 224}, {300, 16, 16}};

TEST(PreprocessImageCuda, EqualsTheReferenceBitForBit) {
  if (no_device()) GTEST_SKIP() << "no CUDA device";
  for (const PixelType type : {PixelType::float32, PixelType::bfloat16}) {
    for (const Shape& s : kShapes) {
      PreprocessImageParams p = params(s.batch, s.height, s.width, type);
      const std::vector<std::uint8_t> in = noise(values_of(p));
      const std::vector<std::uint8_t> expected = reference(p, in);
      GuardedMemory device_in(values_of(p));
      GuardedMemory device_out(bytes_of(p));
      device_in.put(in);
      p.pixels_BHWC = device_in.data();
      p.out_BCHW = device_out.data();
      cuda::preprocess_image(p, nullptr);
      const std::vector<std::uint8_t> first = device_out.get();
      EXPECT_TRUE(first == expected) << shape_of(p);
      cuda::preprocess_image(p, nullptr);
      EXPECT_TRUE(device_out.get() == first) << "second run differs: " << shape_of(p);
      EXPECT_TRUE(device_in.get() == in) << "input changed: " << shape_of(p);
    }
  }
}

TEST(PreprocessImageCuda, RefusesMisalignedPointers) {
  if (no_device()) GTEST_SKIP() << "no CUDA device";
  PreprocessImageParams p = params(1, 4, 4, PixelType::float32);
  const GuardedMemory in(values_of(p) + 16);
  const GuardedMemory out(bytes_of(p));
  p.pixels_BHWC = in.data() + 1;
  p.out_BCHW = out.data();
  EXPECT_THROW(cuda::preprocess_image(p, nullptr), InternalError);
}

TEST(PreprocessImageCuda, EmptyBatchIsNoLaunch) {
  if (no_device()) GTEST_SKIP() << "no CUDA device";
  EXPECT_NO_THROW(cuda::preprocess_image(params(0, 224, 224, PixelType::bfloat16), nullptr));
}

#endif  // PLUMBLINE_HAS_CUDA

}  // namespace
}  // namespace plumbline
