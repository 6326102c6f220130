// uint8 HWC -> float32 | bfloat16 CHW. A block keeps the 3 x 256 results in shared memory, computed
// with the CPU's three roundings, then walks over groups of pixels: a thread reads kPixels * 3
// adjacent bytes, splits the channels in registers and writes kPixels values into each plane.
// Read preprocess_image() at the end first; then the kernel; then Group, its loads and stores.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/device/rounded.cuh"
#include "kernels/preprocess_image/preprocess_image.h"
#include "plumbline/error.h"

namespace plumbline::cuda {
namespace {

constexpr int kThreads = 256;

struct Normalisation {
  float mean[3];
  float std[3];
};

/// The _rn intrinsics are never contracted and divide correctly rounded, whatever the flags.
template <typename T>
__device__ void fill_table(T (&table)[3][256], const Normalisation& n) {
  for (int i = static_cast<int>(threadIdx.x); i < 768; i += kThreads) {
    const int c = i >> 8;
    const float unit = __fdiv_rn(static_cast<float>(i & 255), 255.0f);
    table[c][i & 255] = rounded<T>(__fdiv_rn(__fsub_rn(unit, n.mean[c]), n.std[c]));
  }
}

/// N adjacent bytes in registers; 16-byte, then 4-byte words where N allows them.
template <int N>
struct Bytes {
  static constexpr int kWords = (N + 3) / 4;
  unsigned words[kWords];

  __device__ explicit Bytes(const std::uint8_t* p) {
    if constexpr (N % 16 == 0) {
#pragma unroll
      for (int i = 0; i < N / 16; ++i) {
        const uint4 v = __ldcs(reinterpret_cast<const uint4*>(p) + i);
        words[4 * i] = v.x;
        words[4 * i + 1] = v.y;
        words[4 * i + 2] = v.z;
        words[4 * i + 3] = v.w;
      }
    } else if constexpr (N % 4 == 0) {
#pragma unroll
      for (int i = 0; i < kWords; ++i) words[i] = __ldcs(reinterpret_cast<const unsigned*>(p) + i);
    } else {
      words[0] = 0;
#pragma unroll
      for (int i = 0; i < N; ++i) words[0] |= static_cast<unsigned>(p[i]) << (8 * i);
    }
  }
  __device__ unsigned operator[](int i) const { return words[i / 4] >> (8 * (i % 4)) & 255U; }
};

/// N values of one plane, written in vectors of at most 16 bytes.
template <typename T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Values {
  T v[N];
};

template <typename T, int N>
__device__ void store(T* p, const Values<T, N>& values) {
  constexpr int kBytes = N * static_cast<int>(sizeof(T));
  if constexpr (kBytes % 16 == 0) {
#pragma unroll
    for (int i = 0; i < kBytes / 16; ++i) {
      reinterpret_cast<uint4*>(p)[i] = reinterpret_cast<const uint4*>(values.v)[i];
    }
  } else {
    *reinterpret_cast<Values<T, N>*>(p) = values;
  }
}

/// `groups` = B * H * W / kPixels; a group never straddles two images, as kPixels divides H * W.
template <typename T, int kPixels>
__global__ __launch_bounds__(kThreads) void preprocess_kernel(const std::uint8_t* __restrict__ in,
                                                              T* __restrict__ out,
                                                              std::int64_t groups,
                                                              std::int64_t groups_per_image,
                                                              Normalisation normalisation) {
  __shared__ T table[3][256];
  fill_table(table, normalisation);
  __syncthreads();
  const std::int64_t plane = groups_per_image * kPixels;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t g = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; g < groups;
       g += step) {
    const Bytes<3 * kPixels> bytes(in + g * 3 * kPixels);
    const std::int64_t image = g / groups_per_image;
    T* first = out + image * 3 * plane + (g - image * groups_per_image) * kPixels;
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      Values<T, kPixels> values;
#pragma unroll
      for (int i = 0; i < kPixels; ++i) values.v[i] = table[c][bytes[3 * i + c]];
      store<T, kPixels>(first + c * plane, values);
    }
  }
}

/// As many blocks as stay resident at once: the table is then built once for many groups.
std::int64_t resident_blocks() {
  int device = 0;
  int processors = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) {
    return 128;
  }
  return static_cast<std::int64_t>(processors) * (2048 / kThreads);
}

template <typename T, int kPixels>
void launch(const PreprocessImageParams& p, cudaStream_t stream) {
  const std::int64_t per_image = p.height * p.width / kPixels;
  const std::int64_t groups = p.batch * per_image;
  const auto blocks =
      static_cast<unsigned>(std::min((groups + kThreads - 1) / kThreads, resident_blocks()));
  const Normalisation n = {{p.mean[0], p.mean[1], p.mean[2]}, {p.std[0], p.std[1], p.std[2]}};
  preprocess_kernel<T, kPixels><<<blocks, kThreads, 0, stream>>>(
      p.pixels_BHWC, static_cast<T*>(p.out_BCHW), groups, per_image, n);
}

template <typename T>
void launch_widest(const PreprocessImageParams& p, cudaStream_t stream) {
  const std::int64_t pixels = p.height * p.width;
  if (pixels % 16 == 0) {
    launch<T, 16>(p, stream);
  } else if (pixels % 4 == 0) {
    launch<T, 4>(p, stream);
  } else {
    launch<T, 1>(p, stream);
  }
}

bool misaligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0; }

}  // namespace

void preprocess_image(const PreprocessImageParams& p, CUstream_st* stream) {
  check_preprocess_image(p);
  if (p.batch * p.height * p.width == 0) return;
  if (misaligned(p.pixels_BHWC) || misaligned(p.out_BCHW)) {
    throw InternalError(shape_of(p) + ": pointers must be 16-byte aligned");
  }
  (void)cudaGetLastError();  // an older error is not this launch's
  if (p.type == PixelType::float32) {
    launch_widest<float>(p, stream);
  } else {
    launch_widest<__nv_bfloat16>(p, stream);
  }
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    throw Error(shape_of(p) + ": " + cudaGetErrorString(error));
  }
}

}  // namespace plumbline::cuda
