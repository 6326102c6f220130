#include "ops/device.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "ops/preprocess_image.h"
#include "plumbline/error.h"

namespace plumbline {

at::Device pick_device(std::string_view requested, int local_rank) {
  if (requested != "auto" && requested != "cpu" && requested != "cuda") {
    throw UsageError(str("unknown device '", requested, "' (known: auto, cpu, cuda)"));
  }
  if (requested == "cpu") return at::kCPU;
  const std::int64_t gpus =
      torch::cuda::is_available() ? static_cast<std::int64_t>(torch::cuda::device_count()) : 0;
  if (gpus == 0) {
    if (requested == "cuda") throw UsageError("device 'cuda' asked for, but no GPU is visible");
    return at::kCPU;
  }
  if (local_rank >= gpus) {
    throw UsageError(str("local rank ", local_rank, " has no GPU of its own: this host shows ",
                         gpus, " (start at most that many ranks a host)"));
  }
  return {at::kCUDA, static_cast<c10::DeviceIndex>(local_rank)};
}

StreamHandle current_stream(const at::Device& device) {
  if (device.is_cpu()) return nullptr;
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
}

BatchAllocator pinned_allocator() {
  return [](std::size_t bytes) {
    auto memory = std::make_shared<at::Tensor>(
        at::empty({static_cast<std::int64_t>(bytes)},
                  at::TensorOptions().dtype(at::kByte).pinned_memory(true)));
    void* data = memory->data_ptr();
    return std::shared_ptr<void>(std::move(memory), data);
  };
}

BatchUploader::BatchUploader(at::Device device, const PreprocessOptions& preprocess)
    : device_(device), preprocess_(preprocess) {
  if (device.is_cpu()) return;
  copy_stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  copied_.emplace(device.type());
}

at::Tensor BatchUploader::to_device(const at::Tensor& host) {
  if (!copy_stream_) return host.clone();
  return host.to(device_, /*non_blocking=*/true);
}

UploadedBatch BatchUploader::upload(const Batch& batch) {
  UploadedBatch out;
  out.step = batch.step;
  const std::int64_t images = batch.rows * batch.views;
  // from_blob takes void*, but nothing writes through these views.
  const at::Tensor pixels =
      at::from_blob(batch.pixels_BHWC.data(), {images, preprocess_.height, preprocess_.width, 3},
                    at::TensorOptions().dtype(at::kByte));
  require(pixels.numel() == std::ssize(batch.pixels_BHWC),
          str("the batch of step ", batch.step, " holds ", batch.pixels_BHWC.size(),
              " pixel bytes, not ", pixels.numel()));
  const c10::impl::VirtualGuardImpl guard(device_.type());
  const c10::Stream compute = guard.getStream(device_);
  const c10::OptionalStreamGuard on_copy_stream(copy_stream_);
  out.pixels_BHWC = to_device(pixels);
  if (!batch.tokens_BL.empty()) {
    const std::int64_t length = std::ssize(batch.tokens_BL) / batch.rows;
    out.tokens_BL = to_device(at::from_blob(batch.tokens_BL.data(), {batch.rows, length},
                                            at::TensorOptions().dtype(at::kInt)));
  }
  if (!batch.labels_B.empty()) {
    out.labels_B = to_device(
        at::from_blob(batch.labels_B.data(), {batch.rows}, at::TensorOptions().dtype(at::kLong)));
  }
  if (copy_stream_) {
    copied_->record(*copy_stream_);
    copied_->block(compute);
    // Allocated on the copy stream, read on the compute stream: keeps the memory until both passed.
    for (const at::Tensor& copied : {out.pixels_BHWC, out.tokens_BL, out.labels_B}) {
      if (!copied.defined()) continue;
      guard.recordDataPtrOnStream(copied.storage().data_ptr(), compute);
    }
  }
  return out;
}

void BatchUploader::wait_copied() {
  if (copied_ && copied_->was_marked_for_recording()) copied_->synchronize();
}

at::Tensor BatchUploader::images(const UploadedBatch& batch, std::int64_t first, std::int64_t rows,
                                 at::ScalarType dtype) const {
  return preprocess_image(batch.pixels_BHWC.narrow(0, first, rows), preprocess_, dtype);
}

}  // namespace plumbline
