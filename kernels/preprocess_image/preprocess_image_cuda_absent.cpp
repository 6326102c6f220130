// Stands in for preprocess_image.cu where there is no nvcc.
#include "kernels/preprocess_image/preprocess_image.h"
#include "plumbline/error.h"

namespace plumbline::cuda {

void preprocess_image(const PreprocessImageParams& params, CUstream_st*) {
  throw Error(shape_of(params) + " on a GPU: this program was built without CUDA (no nvcc found)");
}

}  // namespace plumbline::cuda
