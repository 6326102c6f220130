// One optimizer step: towers, loss over all ranks, backward with bucketed reduction, clip, AdamW,
// clamp. With a micro-batch smaller than the rank's share it accumulates exactly (GradCache).
#pragma once

#include <torch/torch.h>

#include <functional>

#include "ops/device.h"
#include "ops/gradient_reducer.h"
#include "plumbline/communicator.h"
#include "plumbline/loss.h"
#include "plumbline/model.h"
#include "plumbline/optim.h"
#include "train/moments.h"
#include "train/run_config.h"

namespace plumbline {

struct StepResult {
  double loss = 0;       ///< global mean
  double grad_norm = 0;  ///< before clipping
  bool skipped = false;  ///< nothing was updated
};

class TrainStep {
 public:
  /// Collective. Freezes locked towers. `model` is on `device` and in training mode.
  TrainStep(const RunConfig& config, ClipModel& model, Ranks& ranks, at::Device device);

  /// Whether a step with this loss and gradient norm may update the weights; the same on every
  /// rank.
  using Accept = std::function<bool(double loss, double grad_norm)>;

  /// Collective. `lr` is this step's learning rate. Without `accept`, steps whose loss or gradient
  /// is not finite are skipped.
  [[nodiscard]] StepResult run(const Batch& batch, double lr, const Accept& accept = {});

  [[nodiscard]] AdamW& optimizer() { return optimizer_; }
  /// Copies in host memory of the moments that this rank writes into a checkpoint: with ZeRO-1 its
  /// own slices, else all of them on rank 0.
  [[nodiscard]] Moments moments() const;
  /// On how many ranks moments() has something.
  [[nodiscard]] int moment_files() const { return reducer_.sharded() ? ranks_.size() : 1; }
  [[nodiscard]] const NamedTensors& trained() const { return trained_; }
  [[nodiscard]] const GradientReducer& reducer() const { return reducer_; }

 private:
  /// What the loss compares: images and texts; of a classifier its logits, and no text.
  struct Features {
    at::Tensor image_BD, text_BD;
  };
  [[nodiscard]] Features forward(const UploadedBatch& batch, std::int64_t first, std::int64_t rows);
  void backward(const Features& features, const LossOutput& loss, std::int64_t first);
  [[nodiscard]] LossOutput loss_of(const Features& features, const at::Tensor& labels_B);
  [[nodiscard]] LossOutput run_whole(const UploadedBatch& batch);
  [[nodiscard]] LossOutput run_accumulated(const UploadedBatch& batch, std::int64_t rows);
  void add_scale_gradients(const LossOutput& loss);

  const RunConfig& config_;
  ClipModel& model_;
  Ranks& ranks_;
  at::Device device_;
  LossFunction loss_;  ///< null for a classifier
  LossTier tier_;
  NamedTensors trained_;
  GradientReducer reducer_;
  AdamW optimizer_;
  BatchUploader uploader_;
  std::vector<std::uint64_t> positions_;  ///< of this rank's rows in the run's order
};

}  // namespace plumbline
