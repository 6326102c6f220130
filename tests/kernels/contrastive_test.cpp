// contrastive_statistics and contrastive_gradient: the CPU against formulas in double, the CUDA
// kernels against the CPU, tier t1's rounding to bfloat16 against float64.
#include "kernels/contrastive/contrastive.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "plumbline/error.h"
#ifdef PLUMBLINE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace plumbline {
namespace {

using Floats = std::vector<float>;

// Of the size of the smallest normal float: exponentials stop there.
constexpr double kSmallest = 1e-36;

/// Uniform in [-1, 1), the same in every run.
Floats noise(std::int64_t size, std::uint32_t state) {
  Floats out(static_cast<std::size_t>(size));
  for (float& v : out) {
    state = state * 1664525U + 1013904223U;
    v = static_cast<float>(state >> 8) * 0x1p-23f - 1;
  }
  return out;
}

/// A tile inside wider rows, and everything the two functions read and write.
struct Problem {
  std::int64_t rows, columns, first_positive;
  float s;
  FloatType type = FloatType::float32;
  std::int64_t stride = (columns + 7) / 4 * 4;
  Floats x = noise(rows * stride, 1), u = noise(rows, 2), v = noise(columns, 3),
         diagonal = noise(rows, 4);
  Floats row = Floats(static_cast<std::size_t>(rows), 0.5f),
         column = Floats(static_cast<std::size_t>(columns), 0.25f),
         positive = Floats(static_cast<std::size_t>(rows), -7);
  std::vector<std::uint8_t> g =
      std::vector<std::uint8_t>(static_cast<std::size_t>(rows * stride * size_of(type)), 0xa5);
  std::vector<double> sums = {1, 2, 3};

  [[nodiscard]] ContrastiveTile tile() {
    return {x.data(), rows, columns, stride, first_positive, &s};
  }
  [[nodiscard]] ContrastiveStatisticsParams statistics() {
    return {tile(), row.data(), column.data(), positive.data(), nullptr};
  }
  [[nodiscard]] ContrastiveGradientParams gradient() {
    return {tile(), u.data(), v.data(),    diagonal.data(), g.data(),
            type,   stride,   sums.data(), nullptr};
  }
  [[nodiscard]] float g_at(std::int64_t i, std::int64_t j) const {
    const auto k = static_cast<std::size_t>(i * stride + j);
    if (type == FloatType::float32) return reinterpret_cast<const float*>(g.data())[k];
    return bfloat16_value(reinterpret_cast<const std::uint16_t*>(g.data())[k]);
  }
  [[nodiscard]] double x_at(std::int64_t i, std::int64_t j) const {
    return x[static_cast<std::size_t>(i * stride + j)];
  }
  [[nodiscard]] double e_at(std::int64_t i, std::int64_t j) const {
    const double s_d = s;
    return std::exp(s_d * x_at(i, j) - std::max(s_d - 70, 0.0));
  }
};

const std::int64_t kShapes[][3] = {{1, 1, 0},   {1, 2, 1},     {3, 17, 20},  {7, 5, -3},
                                   {33, 31, 0}, {64, 256, -5}, {65, 257, 3}, {31, 700, 300}};

template <typename Body>
void for_each_shape(const Body& body) {
  for (const auto& [rows, columns, first] : kShapes) {
    for (const float s : {14.3f, 100.0f}) {
      SCOPED_TRACE(str(rows, " x ", columns, ", positives from ", first, ", scale ", s));
      body(rows, columns, first, s);
    }
  }
}

TEST(ContrastiveStatistics, EqualsTheSumsInDouble) {
  for_each_shape([](auto rows, auto columns, auto first, float s) {
    Problem p{rows, columns, first, s};
    const Floats before = p.x;
    cpu::contrastive_statistics(p.statistics());
    EXPECT_EQ(p.x, before);
    std::vector<double> column(static_cast<std::size_t>(columns), 0.25);
    for (std::int64_t i = 0; i < rows; ++i) {
      double row = 0.5;
      for (std::int64_t j = 0; j < columns; ++j) {
        if (j == first + i) continue;
        row += p.e_at(i, j);
        column[static_cast<std::size_t>(j)] += p.e_at(i, j);
      }
      const auto k = static_cast<std::size_t>(i);
      // s x is rounded before the exponential: 100 * 2^-24 of it.
      EXPECT_NEAR(p.row[k] / row, 1, 1e-5) << i;
      const bool inside = first + i >= 0 && first + i < columns;
      EXPECT_EQ(p.positive[k], inside ? static_cast<float>(p.x_at(i, first + i)) : -7.0f);
    }
    for (std::size_t j = 0; j < column.size(); ++j) {
      EXPECT_NEAR(p.column[j] / column[j], 1, 1e-5) << j;
    }
  });
}

TEST(ContrastiveGradient, EqualsTheFormulaInDouble) {
  for (const FloatType type : {FloatType::float32, FloatType::bfloat16}) {
    const double unit = type == FloatType::float32 ? 1e-5 : 0x1p-8;
    for_each_shape([&](auto rows, auto columns, auto first, float s) {
      Problem p{rows, columns, first, s, type};
      cpu::contrastive_gradient(p.gradient());
      double exact = 1, rounded = 2, magnitude = 3;
      for (std::int64_t i = 0; i < rows; ++i) {
        const auto k = static_cast<std::size_t>(i);
        for (std::int64_t j = 0; j < columns; ++j) {
          const double sum = static_cast<double>(p.u[k]) + p.v[static_cast<std::size_t>(j)];
          const double want = j == first + i ? p.diagonal[k] : p.e_at(i, j) * sum;
          // u + v may cancel in float32; then G is small beside e.
          const double allowed = unit * std::abs(want) + 1e-6 * p.e_at(i, j) + kSmallest;
          EXPECT_NEAR(p.g_at(i, j), want, allowed) << i << ' ' << j;
          exact += want * p.x_at(i, j);
          rounded += p.g_at(i, j) * p.x_at(i, j);
          magnitude += std::abs(p.g_at(i, j) * p.x_at(i, j));
        }
      }
      EXPECT_NEAR(p.sums[0], exact, 1e-5 * magnitude);
      EXPECT_NEAR(p.sums[1], rounded, 1e-6 * magnitude);
      EXPECT_NEAR(p.sums[2], magnitude, 1e-6 * magnitude);
    });
  }
}

TEST(ContrastiveGradient, MayOverwriteTheTile) {
  Problem apart{37, 300, 11, 30};
  Problem inside{37, 300, 11, 30};
  cpu::contrastive_gradient(apart.gradient());
  ContrastiveGradientParams params = inside.gradient();
  params.g_BN = inside.x.data();
  cpu::contrastive_gradient(params);
  for (std::int64_t i = 0; i < 37; ++i) {
    for (std::int64_t j = 0; j < 300; ++j) {
      ASSERT_EQ(static_cast<float>(inside.x_at(i, j)), apart.g_at(i, j)) << i << ' ' << j;
    }
  }
  EXPECT_EQ(apart.sums, inside.sums);
}

TEST(ContrastiveStatistics, LimitsAndNotANumber) {
  Problem p{3, 40, 100, 100};
  p.x.assign(p.x.size(), 0.1f);
  p.x[5] = std::numeric_limits<float>::quiet_NaN();
  p.x[static_cast<std::size_t>(p.stride) + 7] = 2;       // exp(170): out of range
  p.x[static_cast<std::size_t>(p.stride * 2) + 9] = -3;  // exp(-330): as good as zero
  cpu::contrastive_statistics(p.statistics());
  EXPECT_TRUE(std::isnan(p.row[0]) && std::isnan(p.column[5]));
  EXPECT_TRUE(std::isinf(p.row[1]) && std::isinf(p.column[7]));
  EXPECT_TRUE(std::isfinite(p.row[2]) && std::isfinite(p.column[9]));
}

TEST(Contrastive, RefusesBadParams) {
  Problem p{2, 3, 0, 10};
  ContrastiveStatisticsParams statistics = p.statistics();
  statistics.row_B = nullptr;
  try {
    cpu::contrastive_statistics(statistics);
    FAIL() << "a null pointer was accepted";
  } catch (const InternalError& e) {
    EXPECT_NE(std::string(e.what()).find("[2, 3]"), std::string::npos) << e.what();
  }
  ContrastiveGradientParams gradient = p.gradient();
  gradient.g_stride = 2;
  EXPECT_THROW(cpu::contrastive_gradient(gradient), InternalError);
  EXPECT_THROW(cuda::contrastive_statistics(statistics, nullptr), Error);
  EXPECT_THROW(cuda::contrastive_gradient(p.gradient(), nullptr), Error) << "no workspace";
  EXPECT_NO_THROW(cpu::contrastive_statistics({}));
  EXPECT_NO_THROW(cpu::contrastive_gradient({}));
}

TEST(Contrastive, WorkspaceHoldsTheParts) {
  EXPECT_GE(contrastive_workspace_bytes(64, 256), 4 * (64 + 256));
  EXPECT_GE(contrastive_workspace_bytes(65, 257), 4 * (2 * 65 + 2 * 257));
}

#ifdef PLUMBLINE_HAS_CUDA

bool no_device() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0;
}

/// Host values on the device, with guard bytes behind them.
template <typename T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& host) : size_(host.size()) {
    if (cudaMalloc(&data_, size_ * sizeof(T) + kGuard) != cudaSuccess) throw std::bad_alloc();
    (void)cudaMemset(data_, 0xa5, size_ * sizeof(T) + kGuard);
    (void)cudaMemcpy(data_, host.data(), size_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { (void)cudaFree(data_); }
  [[nodiscard]] T* data() const { return static_cast<T*>(data_); }
  [[nodiscard]] std::vector<T> get() const {
    std::vector<std::uint8_t> bytes(size_ * sizeof(T) + kGuard);
    EXPECT_EQ(cudaMemcpy(bytes.data(), data_, bytes.size(), cudaMemcpyDeviceToHost), cudaSuccess);
    for (std::size_t i = 0; i < kGuard; ++i) EXPECT_EQ(bytes[size_ * sizeof(T) + i], 0xa5);
    std::vector<T> out(size_);
    std::copy_n(bytes.data(), size_ * sizeof(T), reinterpret_cast<std::uint8_t*>(out.data()));
    return out;
  }

 private:
  static constexpr std::size_t kGuard = 256;
  void* data_ = nullptr;
  std::size_t size_;
};

/// Runs both kernels on the device and puts the results into the problem.
void run_on_device(Problem& p) {
  const OnDevice<float> x(p.x), u(p.u), v(p.v), diagonal(p.diagonal), scale(Floats{p.s}),
      row(p.row), column(p.column), positive(p.positive);
  const OnDevice<std::uint8_t> g(p.g), workspace(std::vector<std::uint8_t>(static_cast<std::size_t>(
                                           contrastive_workspace_bytes(p.rows, p.columns))));
  const OnDevice<double> sums(p.sums);
  const ContrastiveTile tile = {x.data(), p.rows,           p.columns,
                                p.stride, p.first_positive, scale.data()};
  cuda::contrastive_statistics({tile, row.data(), column.data(), positive.data(), workspace.data()},
                               nullptr);
  cuda::contrastive_gradient({tile, u.data(), v.data(), diagonal.data(), g.data(), p.type, p.stride,
                              sums.data(), workspace.data()},
                             nullptr);
  EXPECT_EQ(x.get(), p.x) << "the tile changed";
  (void)workspace.get();
  p.row = row.get();
  p.column = column.get();
  p.positive = positive.get();
  p.g = g.get();
  p.sums = sums.get();
}

TEST(ContrastiveCuda, EqualsTheReference) {
  if (no_device()) GTEST_SKIP() << "no CUDA device";
  for (const FloatType type : {FloatType::float32, FloatType::bfloat16}) {
    const double unit = type == FloatType::float32 ? 2e-5 : 0x1p-7;
    for_each_shape([&](auto rows, auto columns, auto first, float s) {
      Problem want{rows, columns, first, s, type};
      Problem got = want, again = want;
      cpu::contrastive_statistics(want.statistics());
      cpu::contrastive_gradient(want.gradient());
      run_on_device(got);
      run_on_device(again);
      EXPECT_TRUE(got.row == again.row && got.column == again.column && got.g == again.g &&
                  got.sums == again.sums)
          << "two runs differ";
      EXPECT_EQ(got.positive, want.positive);
      for (std::size_t i = 0; i < want.row.size(); ++i) {
        EXPECT_NEAR(got.row[i] / want.row[i], 1, 2e-5);
      }
      for (std::size_t j = 0; j < want.column.size(); ++j) {
        EXPECT_NEAR(got.column[j] / want.column[j], 1, 2e-5);
      }
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) {
          const double g = want.g_at(i, j);
          EXPECT_NEAR(got.g_at(i, j), g, unit * std::abs(g)) << i << ' ' << j;
        }
      }
      for (int k = 0; k < 3; ++k) EXPECT_NEAR(got.sums[k], want.sums[k], 1e-3 * want.sums[2]);
    });
  }
}

TEST(ContrastiveCuda, RefusesMisalignedPointers) {
  if (no_device()) GTEST_SKIP() << "no CUDA device";
  Problem p{4, 8, 0, 10};
  ContrastiveStatisticsParams params = p.statistics();
  params.workspace = p.g.data();
  params.tile.stride = 9;
  EXPECT_THROW(cuda::contrastive_statistics(params, nullptr), InternalError);
}

#endif  // PLUMBLINE_HAS_CUDA

}  // namespace
}  // namespace plumbline
