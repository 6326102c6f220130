// What training needs from a device: which one, its streams, pinned memory, batches brought to it.
// Streams and events go through c10's device-neutral interface, so no CUDA header is needed and the
// same code runs on a machine without a GPU.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <string_view>
#include <vector>

#include "plumbline/communicator.h"
#include "plumbline/data.h"

namespace plumbline {

/// `auto` is the GPU of this local rank when the process sees one, else the CPU; `cpu`; `cuda`.
/// Throws UsageError for another word, for `cuda` without a GPU, and when this host runs more ranks
/// than it has GPUs.
[[nodiscard]] at::Device pick_device(std::string_view requested, int local_rank);

/// The stream that this thread's kernels on `device` go to; null on the CPU.
[[nodiscard]] StreamHandle current_stream(const at::Device& device);

/// Page-locked memory that a GPU copies from without staging. Needs a GPU at the time of the call.
[[nodiscard]] BatchAllocator pinned_allocator();

/// A batch as the towers take it, on the device.
struct UploadedBatch {
  std::int64_t step = 0;
  at::Tensor pixels_BHWC;  ///< uint8 [rows * views, height, width, 3]
  at::Tensor tokens_BL;    ///< int32 [rows, context_length]; undefined without tokens
  at::Tensor labels_B;     ///< int64 [rows]; undefined without labels
};

/// Brings batches to a device. On a GPU the copies run on a stream of their own, beside the
/// kernels of the step before; pixels travel as uint8, a quarter of float32.
class BatchUploader {
 public:
  BatchUploader(at::Device device, const PreprocessOptions& preprocess);

  /// Starts the copy; the current stream waits for it. `batch` must stay unreleased until
  /// wait_copied() returns. On the CPU the tensors are copies, made on return.
  [[nodiscard]] UploadedBatch upload(const Batch& batch);
  /// Blocks until the memory of the last uploaded batch may be released.
  void wait_copied();
  /// Rows [first, first + rows) of the pixels, normalised: [rows, 3, height, width] in `dtype`.
  [[nodiscard]] at::Tensor images(const UploadedBatch& batch, std::int64_t first, std::int64_t rows,
                                  at::ScalarType dtype = at::kFloat) const;

 private:
  [[nodiscard]] at::Tensor to_device(const at::Tensor& host);

  at::Device device_;
  PreprocessOptions preprocess_;
  std::optional<c10::Stream> copy_stream_;
  std::optional<c10::Event> copied_;
};

}  // namespace plumbline
