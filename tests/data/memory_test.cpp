// The memory bound, measured: how far the resident set of this process grows at its peak while a
// loader runs (/proc/self/status VmHWM, reset before).
#include <gtest/gtest.h>

#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>

#include <jpeglib.h>
#include <png.h>

#include "core/file.h"
#include "plumbline/error.h"
#include "tests/data/loader_runs.h"

namespace plumbline {
namespace {

constexpr std::int64_t kMegabyte = 1 << 20;

/// A line of /proc/self/status, in bytes.
std::int64_t status_bytes(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) return 1024 * std::stoll(line.substr(name.size() + 1));
  }
  return -1;
}

class Memory : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer has memory of its own";
#endif
    ::malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << "5";
    before_ = status_bytes("VmRSS");
    if (before_ < 0 || status_bytes("VmHWM") > before_ + 8 * kMegabyte) {
      GTEST_SKIP() << "the peak of the resident set cannot be reset here";
    }
  }
  /// Bytes at the peak over those at the start.
  [[nodiscard]] std::int64_t growth() const { return status_bytes("VmHWM") - before_; }

 private:
  std::int64_t before_ = 0;
};

std::string flat_jpeg(unsigned width, unsigned height, bool progressive) {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_width = width;
  jpeg.image_height = height;
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  if (progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  std::vector<unsigned char> row(std::size_t{3} * width);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<unsigned char>(i / 1000);
  unsigned char* rows[1] = {row.data()};
  while (jpeg.next_scanline < height) (void)jpeg_write_scanlines(&jpeg, rows, 1);
  jpeg_finish_compress(&jpeg);
  std::string text(reinterpret_cast<char*>(bytes), size);
  jpeg_destroy_compress(&jpeg);
  std::free(bytes);
  return text;
}

std::string flat_png(unsigned width, unsigned height) {
  std::string text;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &text,
      [](png_structp p, png_bytep bytes, std::size_t n) {
        static_cast<std::string*>(png_get_io_ptr(p))->append(reinterpret_cast<char*>(bytes), n);
      },
      nullptr);
  png_set_compression_level(png, 1);
  png_set_filter(png, 0, PNG_FILTER_NONE);
  png_set_IHDR(png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  const std::vector<unsigned char> row(std::size_t{3} * width, 77);
  for (unsigned y = 0; y < height; ++y) png_write_row(png, row.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return text;
}

/// `count` samples of these images in turn, in shard 0.tar, which stands on the disk alone.
void write_images(const TempFolder& folder, const std::vector<std::string>& images, int count) {
  Members members;
  for (int i = 0; i < count; ++i) {
    const std::string key = std::to_string(100'000 + i);
    members.emplace_back(key + ".jpg", images[static_cast<std::size_t>(i) % images.size()]);
    members.emplace_back(key + ".txt", "caption of " + key);
  }
  folder.write("0.tar", tar_of(members));
}

DataOptions one_shard(const TempFolder& folder, std::int64_t memory_mb, int threads) {
  DataOptions options = shard_options(folder);
  options.sources[0].shards = {folder / "0.tar"};
  options.memory_mb = memory_mb;
  options.threads = threads;
  options.errors = {1, 1000};
  options.allow_repeats = true;
  return options;
}

/// As after a stall: whatever the loader can do in advance is done.
void wait_until_idle(const Loader& loader) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  double busy = -1;
  while (std::chrono::steady_clock::now() < end && loader.stats().build.busy_s != busy) {
    busy = loader.stats().build.busy_s;
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
  }
}

TEST_F(Memory, AStalledConsumerIsNotDrownedInBatches) {
  const TempFolder folder;
  {
    std::vector<std::string> images;
    for (int i = 0; i < 6; ++i) images.push_back(jpeg_of(static_cast<std::uint64_t>(i), 400));
    write_images(folder, images, 2000);
  }
  ::malloc_trim(0);
  SetUp();
  DataOptions options = one_shard(folder, 96, 3);
  options.limits.max_pixels = 1'000'000;
  LoaderContext context = context_of();
  context.global_batch = 64;
  context.preprocess.height = context.preprocess.width = 224;
  Loader loader(options, context);
  ASSERT_EQ(loader.memory_bound(), 96 * kMegabyte);
  wait_until_idle(loader);
  EXPECT_GT(growth(), 3 * 64 * 224 * 224 * 3) << "three batches are ready";
  EXPECT_LE(growth(), loader.memory_bound());
  for (int k = 0; k < 6; ++k) loader.release(loader.next());
  EXPECT_LE(growth(), loader.memory_bound());
}

TEST_F(Memory, ImagesAtTheLimitStayBelowTheBound) {
  const TempFolder folder;
  write_images(
      folder,
      {flat_jpeg(5000, 5000, false), flat_jpeg(5000, 5000, true), flat_png(5000, 5000), jpeg_of(1)},
      16);
  ::malloc_trim(0);
  SetUp();
  const DataOptions options = one_shard(folder, 330, 3);
  LoaderContext context = context_of();
  context.global_batch = 4;
  Loader loader(options, context);
  ASSERT_LE(loader.memory_bound(), 330 * kMegabyte);
  for (int k = 0; k < 2; ++k) loader.release(loader.next());
  EXPECT_EQ(loader.stats().bad_samples(), 0) << "25 megapixels are the limit, not over it";
  EXPECT_GT(growth(), 70 * kMegabyte) << "a frame of 25 megapixels was decoded";
  EXPECT_LE(growth(), loader.memory_bound());
}

TEST_F(Memory, BombsCostNothing) {
  const TempFolder folder;
  // A bomb: 300 MB out of 300 KB. The other would need 300 MB, and more as a progressive one.
  write_images(folder,
               {flat_png(10'000, 10'000), flat_jpeg(10'000, 10'000, false), jpeg_of(1), jpeg_of(2)},
               32);
  ::malloc_trim(0);
  SetUp();
  Loader loader(one_shard(folder, 330, 2), context_of());
  for (int k = 0; k < 4; ++k) loader.release(loader.next());
  const SourceCounts counts = loader.stats().sources[0];
  EXPECT_GT(counts.bad[static_cast<std::size_t>(BadSampleClass::too_large)], 16);
  EXPECT_EQ(counts.delivered, 64);
  EXPECT_LE(growth(), 64 * kMegabyte) << "refused by its header";
}

TEST_F(Memory, ACompressedBombIsRefused) {
  const TempFolder folder;
  if (std::system(str("head -c 100M /dev/zero | gzip > ", folder / "0.tar").c_str()) != 0) {
    GTEST_SKIP() << "gzip is not there";
  }
  try {
    const Loader loader(one_shard(folder, 330, 1), context_of());
    FAIL() << "a shard that is a thousand times as large as its file";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("decompresses to more than"), std::string::npos)
        << error.what();
  }
  EXPECT_LE(growth(), 32 * kMegabyte);
}

TEST_F(Memory, ASampleLargerThanTheStockIsAnExplainedError) {
  const TempFolder folder;
  write_images(folder, {jpeg_of(1) + std::string(40 * kMegabyte, 'x'), jpeg_of(1)}, 4);
  ::malloc_trim(0);
  SetUp();
  DataOptions options = one_shard(folder, 60, 1);
  options.limits.max_pixels = 1'000'000;
  Loader loader(options, context_of());
  try {
    for (int k = 0; k < 4; ++k) loader.release(loader.next());
    FAIL() << "40 MB do not fit";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("data.memory_mb"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("0.tar"), std::string::npos) << error.what();
  }
  EXPECT_LE(growth(), loader.memory_bound());
}

}  // namespace
}  // namespace plumbline
