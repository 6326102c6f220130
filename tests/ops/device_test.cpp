#include "ops/device.h"

#include <gtest/gtest.h>

#include "ops/collectives.h"
#include "ops/preprocess_image.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

TEST(PickDevice, FollowsTheRequest) {
  EXPECT_TRUE(pick_device("cpu", 0).is_cpu());
  EXPECT_THROW((void)pick_device("tpu", 0), UsageError);
  if (torch::cuda::is_available()) {
    EXPECT_TRUE(pick_device("auto", 0).is_cuda());
    EXPECT_THROW((void)pick_device("cuda", 1000), UsageError);
  } else {
    EXPECT_TRUE(pick_device("auto", 0).is_cpu());
    EXPECT_THROW((void)pick_device("cuda", 0), UsageError);
  }
}

TEST(CurrentStream, IsNullOnTheCpu) { EXPECT_EQ(current_stream(at::kCPU), nullptr); }

[[nodiscard]] at::Tensor as_torchvision(const at::Tensor& pixels, const PreprocessOptions& o) {
  const auto channel = [](const std::array<float, 3>& v) {
    return at::tensor({v[0], v[1], v[2]}, at::kFloat).view({1, 3, 1, 1});
  };
  const at::Tensor x = pixels.permute({0, 3, 1, 2}).to(at::kFloat).div(255);
  return x.sub(channel(o.mean)).div(channel(o.std)).contiguous();
}

TEST(PreprocessImage, EqualsTorchvisionBitForBit) {
  const PreprocessOptions options;
  at::Tensor pixels = at::arange(2 * 8 * 32 * 3, at::kInt).remainder(256).to(at::kByte);
  pixels = pixels.view({2, 8, 32, 3});
  const at::Tensor want = as_torchvision(pixels, options);
  EXPECT_TRUE(at::equal(preprocess_image(pixels, options), want));
  EXPECT_TRUE(at::equal(preprocess_image(pixels, options, at::kBFloat16), want.to(at::kBFloat16)));
  EXPECT_THROW((void)preprocess_image(pixels.to(at::kFloat), options), InternalError);
}

TEST(BatchUploader, CopiesTheBatchSoThatItMayBeReleased) {
  PreprocessOptions options;
  options.height = options.width = 5;
  std::vector<std::uint8_t> pixels(3 * 5 * 5 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i);
  std::vector<std::int32_t> tokens = {1, 2, 3, 4, 5, 6};
  Batch batch;
  batch.step = 9;
  batch.rows = 3;
  batch.pixels_BHWC = pixels;
  batch.tokens_BL = tokens;
  BatchUploader uploader(at::kCPU, options);
  const UploadedBatch uploaded = uploader.upload(batch);
  uploader.wait_copied();
  const at::Tensor before = at::from_blob(pixels.data(), {3, 5, 5, 3}, at::kByte).clone();
  std::fill(pixels.begin(), pixels.end(), std::uint8_t{0});
  std::fill(tokens.begin(), tokens.end(), 0);
  EXPECT_EQ(uploaded.step, 9);
  EXPECT_TRUE(at::equal(uploaded.pixels_BHWC, before));
  EXPECT_TRUE(at::equal(uploaded.tokens_BL, at::tensor({1, 2, 3, 4, 5, 6}, at::kInt).view({3, 2})));
  // The second row starts at byte 75: not aligned for the kernel.
  EXPECT_TRUE(
      at::equal(uploader.images(uploaded, 1, 2), as_torchvision(before.narrow(0, 1, 2), options)));
}

TEST(BatchUploader, RefusesABatchOfAnotherSize) {
  PreprocessOptions options;
  std::vector<std::uint8_t> pixels(12);
  Batch batch;
  batch.rows = 1;
  batch.pixels_BHWC = pixels;
  BatchUploader uploader(at::kCPU, options);
  EXPECT_THROW((void)uploader.upload(batch), InternalError);
}

TEST(GatherRows, KeepsRankOrderForUnequalRowsAndScatterIsItsAdjoint) {
  run_in_process(3, [](Communicator& ranks) {
    const std::int64_t rows = ranks.rank() + 1;
    const at::Tensor mine = at::full({rows, 2}, ranks.rank() + 1, at::kFloat);
    const RowLayout layout = agree_on_rows(mine, ranks);
    EXPECT_EQ(layout.rows, (std::vector<std::int64_t>{1, 2, 3}));
    EXPECT_EQ(layout.offset, ranks.rank() * (ranks.rank() + 1) / 2);
    EXPECT_EQ(layout.total, 6);
    const at::Tensor all = gather_rows(mine, layout, ranks);
    EXPECT_TRUE(at::equal(all.select(1, 0), at::tensor({1, 2, 2, 3, 3, 3}, at::kFloat)));
    const at::Tensor sums = scatter_row_sums(all * (ranks.rank() + 1), layout, ranks);
    EXPECT_TRUE(at::equal(sums, mine * 6));
  });
}

TEST(ElementType, RefusesWhatNoCollectiveCarries) {
  EXPECT_EQ(element_type(at::kBFloat16), ElementType::bf16);
  EXPECT_THROW((void)element_type(at::kHalf), Error);
}

}  // namespace
}  // namespace plumbline
