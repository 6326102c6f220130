// Stands in for adamw.cu where there is no nvcc.
#include "kernels/adamw/adamw.h"
#include "plumbline/error.h"

namespace plumbline::cuda {

void adamw(const AdamWParams& params, CUstream_st*) {
  throw Error(shape_of(params) + " on a GPU: this program was built without CUDA (no nvcc found)");
}

}  // namespace plumbline::cuda
