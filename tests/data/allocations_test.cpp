// What the data path takes from operator new once it is warm. libjpeg's own pools, which it takes
// from malloc and gives back for each image, are not counted.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "plumbline/image.h"
#include "tests/data/loader_runs.h"

namespace {
std::atomic<std::int64_t> taken = 0, large_taken = 0;
constexpr std::size_t kLarge = 4096;
}  // namespace

void* operator new(std::size_t bytes) {
  ++taken;
  if (bytes >= kLarge) ++large_taken;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace plumbline {
namespace {

TEST(Allocations, PixelsTakeNone) {
  std::vector<std::string> jpegs;
  for (std::uint64_t i = 0; i < 6; ++i) jpegs.push_back(jpeg_of(i, 40 + 30 * static_cast<int>(i)));
  const PreprocessOptions options = preprocess_family("openai", 64);
  std::vector<std::uint8_t> pixels(64 * 64 * 3);
  std::vector<float> values(pixels.size());
  ImageDecoder decoder;
  ResizeScratch scratch;
  Image image;
  const auto one = [&](const std::string& jpeg, std::uint64_t g) {
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(jpeg.data()), jpeg.size());
    const auto info = std::get<ImageInfo>(probe_image(bytes));
    const TrainTransformOptions train;
    const Box part = train_part(info.width, info.height, train, options, 1, g);
    if (decoder.decode_part(bytes, part, image)) return false;
    train_transform(image, train, options, 1, g, 0, pixels, scratch);
    normalise(pixels, 64, 64, options.mean, options.std, values);
    return true;
  };
  bool all = true;
  for (std::uint64_t g = 0; g < 60; ++g) all &= one(jpegs[g % jpegs.size()], g);
  const std::int64_t before = taken;
  for (std::uint64_t g = 0; g < 60; ++g) all &= one(jpegs[g % jpegs.size()], g);
  EXPECT_EQ(taken - before, 0);
  EXPECT_TRUE(all);
}

/// Captions, keys and their pieces are strings. Of the size of an image only the buffers of the
/// threads are taken, which still grow a few times when larger samples meet.
TEST(Allocations, LoaderTakesOnlyShortStrings) {
  const TempFolder folder;
  write_shards(folder);
  const DataOptions options = shard_options(folder);
  Loader loader(options, context_of());
  std::int64_t samples = 0;
  const auto run = [&](int batches) {
    for (int i = 0; i < batches; ++i) {
      const Batch* batch = loader.next();
      samples += batch->rows;
      loader.release(batch);
    }
  };
  run(60);
  const std::int64_t before = taken, large_before = large_taken;
  samples = 0;
  run(60);
  EXPECT_LT(large_taken - large_before, 20) << "of " << samples << " samples";
  EXPECT_LT(static_cast<double>(taken - before) / static_cast<double>(samples), 20.0);
}

}  // namespace
}  // namespace plumbline
