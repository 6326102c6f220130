// adamw: the CPU against the formula in double, the CUDA kernel against the CPU. That the CPU
// equals LibTorch's optimizer bit for bit, tests/optim shows.
#include "kernels/adamw/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/bfloat16.h"
#include "plumbline/error.h"
#ifdef PLUMBLINE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace plumbline {
namespace {

using Floats = std::vector<float>;

/// Uniform in [low, high), the same in every run.
Floats noise(std::int64_t size, float low, float high, std::uint32_t state) {
  Floats out(static_cast<std::size_t>(size));
  for (float& v : out) {
    state = state * 1664525U + 1013904223U;
    v = low + (high - low) * static_cast<float>(state >> 8) * 0x1p-24f;
  }
  return out;
}

struct Problem {
  std::int64_t n;
  float factor = 0.7f;
  Floats p = noise(n, -1, 1, 1), grad = noise(n, -1e-2f, 1e-2f, 2), m = noise(n, -1e-2f, 1e-2f, 3),
         v = noise(n, 0, 1e-4f, 4);
  std::vector<std::uint16_t> rounded = std::vector<std::uint16_t>(static_cast<std::size_t>(n), 7);

  [[nodiscard]] AdamWParams params() {
    return {
        p.data(),       grad.data(), m.data(), v.data(),
        rounded.data(), n,           &factor,  {0.9999f, 0.1f, 0.98f, 0.02f, 5e-4f, 0.5f, 1e-6f}};
  }
};

const std::int64_t kSizes[] = {1, 3, 4, 5, 31, 1023, 4096, 4097, 9001};

TEST(AdamWKernel, EqualsTheFormulaInDouble) {
  for (const std::int64_t n : kSizes) {
    Problem got{n};
    const Problem old = got;
    cpu::adamw(got.params());
    for (std::size_t i = 0; i < old.p.size(); ++i) {
      const double g = static_cast<double>(old.factor) * old.grad[i];
      const double m = old.m[i] + 0.1 * (g - old.m[i]), v = 0.98 * old.v[i] + 0.02 * g * g;
      const double p = 0.9999 * old.p[i] - 5e-4 * m / (std::sqrt(v) / 0.5 + 1e-6);
      ASSERT_NEAR(got.m[i], m, 1e-8) << n << ' ' << i;
      ASSERT_NEAR(got.v[i], v, 1e-11) << n << ' ' << i;
      ASSERT_NEAR(got.p[i], p, 2e-7) << n << ' ' << i;
      ASSERT_EQ(got.rounded[i], bfloat16_bits(got.p[i])) << n << ' ' << i;
    }
  }
}

TEST(AdamWKernel, AFactorThatIsNotFiniteChangesNothing) {
  for (const float factor :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Problem got{100, factor};
    const Problem old = got;
    cpu::adamw(got.params());
    EXPECT_TRUE(got.p == old.p && got.m == old.m && got.v == old.v && got.rounded == old.rounded);
  }
}

TEST(AdamWKernel, RefusesBadParams) {
  Problem problem{8};
  AdamWParams params = problem.params();
  params.factor = nullptr;
  try {
    cpu::adamw(params);
    FAIL() << "a null pointer was accepted";
  } catch (const InternalError& e) {
    EXPECT_NE(std::string(e.what()).find("adamw of [8]"), std::string::npos) << e.what();
  }
  params = problem.params();
  params.scalars.one_minus_beta1 = 0.5f;
  EXPECT_THROW(cpu::adamw(params), InternalError);
  EXPECT_THROW(cuda::adamw(params, nullptr), Error);
  EXPECT_NO_THROW(cpu::adamw({}));
}

#ifdef PLUMBLINE_HAS_CUDA

/// Host values on the device, copied back into them at the end.
template <typename T>
class OnDevice {
 public:
  explicit OnDevice(std::vector<T>& host) : host_(host) {
    if (cudaMalloc(&data_, bytes()) != cudaSuccess) throw std::bad_alloc();
    (void)cudaMemcpy(data_, host.data(), bytes(), cudaMemcpyHostToDevice);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() {
    EXPECT_EQ(cudaMemcpy(host_.data(), data_, bytes(), cudaMemcpyDeviceToHost), cudaSuccess);
    (void)cudaFree(data_);
  }
  [[nodiscard]] T* data() const { return static_cast<T*>(data_); }

 private:
  [[nodiscard]] std::size_t bytes() const { return host_.size() * sizeof(T); }
  std::vector<T>& host_;
  void* data_ = nullptr;
};

void run_on_device(Problem& problem) {
  Floats factor_1 = {problem.factor};
  const OnDevice<float> p(problem.p), grad(problem.grad), m(problem.m), v(problem.v),
      factor(factor_1);
  const OnDevice<std::uint16_t> rounded(problem.rounded);
  AdamWParams params = problem.params();
  params.p_N = p.data();
  params.grad_N = grad.data();
  params.m_N = m.data();
  params.v_N = v.data();
  params.bfloat16_N = rounded.data();
  params.factor = factor.data();
  cuda::adamw(params, nullptr);
}

TEST(AdamWKernelCuda, EqualsTheReferenceBitForBit) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no CUDA device";
  for (const std::int64_t n : kSizes) {
    for (const float factor : {0.7f, std::numeric_limits<float>::quiet_NaN()}) {
      Problem got{n, factor};
      Problem want = got;
      cpu::adamw(want.params());
      run_on_device(got);
      EXPECT_TRUE(got.p == want.p && got.m == want.m && got.v == want.v &&
                  got.rounded == want.rounded)
          << n << " elements, factor " << factor;
    }
  }
}

#endif  // PLUMBLINE_HAS_CUDA

}  // namespace
}  // namespace plumbline
