// Stands in for contrastive.cu where there is no nvcc.
#include "kernels/contrastive/contrastive.h"
#include "plumbline/error.h"

namespace plumbline::cuda {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(what + " on a GPU: this program was built without CUDA (no nvcc found)");
}

}  // namespace

void contrastive_statistics(const ContrastiveStatisticsParams& params, CUstream_st*) {
  refuse(shape_of(params));
}

void contrastive_gradient(const ContrastiveGradientParams& params, CUstream_st*) {
  refuse(shape_of(params));
}

void check_contrastive_device(int) {
  throw UsageError("loss.tier: t1 on a GPU: this program was built without CUDA (no nvcc found)");
}

}  // namespace plumbline::cuda
