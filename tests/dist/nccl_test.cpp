// NCCL with one rank: two ranks need two GPUs.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "dist/conformance.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

bool has_gpu() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
}

void expect_success(cudaError_t e) { ASSERT_EQ(e, cudaSuccess) << cudaGetErrorString(e); }

class GpuMemory : public Memory {
 public:
  GpuMemory() { expect_success(cudaStreamCreate(&stream_)); }
  ~GpuMemory() override { cudaStreamDestroy(stream_); }
  void* upload(const std::vector<std::byte>& bytes) override {
    void* buffer = nullptr;
    expect_success(cudaMalloc(&buffer, bytes.size() + 1));
    expect_success(cudaMemcpy(buffer, bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
    return buffer;
  }
  std::vector<std::byte> take(void* buffer, std::size_t size) override {
    std::vector<std::byte> bytes(size);
    expect_success(cudaStreamSynchronize(stream_));
    expect_success(cudaMemcpy(bytes.data(), buffer, size, cudaMemcpyDeviceToHost));
    expect_success(cudaFree(buffer));
    return bytes;
  }
  StreamHandle stream() override { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

TEST(Nccl, OneRankConforms) {
  if (!has_gpu()) GTEST_SKIP() << "no GPU";
  const auto host = make_single_communicator();
  const auto device = make_nccl_communicator(*host, 0);
  EXPECT_EQ(device->name(), "nccl");
  GpuMemory memory;
  expect_conformance(*device, memory);
  check_same_order(*host, *device);
}

TEST(Nccl, TwoRanksOnOneGpuAreRefused) {
  if (!has_gpu()) GTEST_SKIP() << "no GPU";
  try {
    run_in_process(2, [](Communicator& host) { (void)make_nccl_communicator(host, 0); });
    FAIL() << "nothing thrown";
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("ranks 0 and 1 both use"), std::string::npos) << e.what();
  }
}

TEST(Nccl, MissingGpuIsNamedOnEveryRank) {
  std::atomic<int> refused = 0;
  run_in_process(2, [&](Communicator& host) {
    try {
      (void)make_nccl_communicator(host, host.rank() == 1 ? 99 : 0);
    } catch (const UsageError& e) {
      const std::string what = e.what();
      EXPECT_TRUE(
          what.starts_with(has_gpu() ? "rank 1: GPU 99 is wanted" : "rank 0: no usable GPU"))
          << what;
      ++refused;
    }
  });
  EXPECT_EQ(refused, 2);
}

}  // namespace
}  // namespace plumbline
