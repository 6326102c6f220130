#include "ops/preprocess_image.h"

#include <c10/core/DeviceGuard.h>

#include "kernels/preprocess_image/preprocess_image.h"
#include "ops/device.h"
#include "plumbline/error.h"

namespace plumbline {

at::Tensor preprocess_image(const at::Tensor& pixels_BHWC, const PreprocessOptions& options,
                            at::ScalarType dtype) {
  require(
      pixels_BHWC.scalar_type() == at::kByte && pixels_BHWC.dim() == 4 && pixels_BHWC.size(3) == 3,
      plumbline::str("preprocess_image takes uint8 [B, H, W, 3], not ",
                     at::toString(pixels_BHWC.scalar_type()), " ", pixels_BHWC.sizes()));
  require(dtype == at::kFloat || dtype == at::kBFloat16,
          str("preprocess_image gives float32 or bfloat16, not ", at::toString(dtype)));
  at::Tensor in_BHWC = pixels_BHWC.contiguous();
  constexpr std::uintptr_t kKernelAlignment = 16;  // a slice of odd-sized images may miss it
  if (reinterpret_cast<std::uintptr_t>(in_BHWC.data_ptr()) % kKernelAlignment != 0) {
    in_BHWC = in_BHWC.clone();
  }
  at::Tensor out_BCHW = at::empty({in_BHWC.size(0), 3, in_BHWC.size(1), in_BHWC.size(2)},
                                  in_BHWC.options().dtype(dtype));
  const PreprocessImageParams params = {
      .pixels_BHWC = in_BHWC.const_data_ptr<std::uint8_t>(),
      .out_BCHW = out_BCHW.data_ptr(),
      .type = dtype == at::kFloat ? PixelType::float32 : PixelType::bfloat16,
      .batch = in_BHWC.size(0),
      .height = in_BHWC.size(1),
      .width = in_BHWC.size(2),
      .mean = options.mean,
      .std = options.std};
  if (in_BHWC.is_cuda()) {
    const c10::DeviceGuard guard(in_BHWC.device());  // a launch goes to the current device
    cuda::preprocess_image(params, static_cast<CUstream_st*>(current_stream(in_BHWC.device())));
  } else {
    cpu::preprocess_image(params);
  }
  return out_BCHW;
}

}  // namespace plumbline
