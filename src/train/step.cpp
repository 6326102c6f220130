#include "train/step.h"

#include <ATen/autocast_mode.h>

#include <algorithm>
#include <cmath>

#include "plumbline/error.h"

namespace plumbline {
namespace {

/// bf16 compute with float32 weights for the towers; the loss sees float32 features.
class Autocast {
 public:
  Autocast(bool enabled, at::Device device) : enabled_(enabled), type_(device.type()) {
    if (!enabled_) return;
    at::autocast::set_autocast_enabled(type_, true);
    at::autocast::set_autocast_dtype(type_, at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (!enabled_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type_, false);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool enabled_;
  at::DeviceType type_;
};

NamedTensors trained_parameters(const ModelSection& options, ClipModel& model) {
  if (options.lock_image) lock_image(model, 0);
  if (options.lock_text) lock_text(model, 0);
  return model.named_parameters_in_order();
}

AdamW make_optimizer(const OptimizerOptions& options, const NamedTensors& trained,
                     const GradientReducer& reducer) {
  if (!reducer.sharded()) return {options, trained};
  std::vector<ParameterSlice> slices;
  for (const GradientReducer::Slice& s : reducer.owned()) {
    slices.push_back({s.name, s.first, s.count, s.gradient});
  }
  return {options, trained, slices};
}

/// Batch-norm statistics must move once a step, in the pass that makes gradients.
class KeepRunningStatistics {
 public:
  explicit KeepRunningStatistics(ClipModel& model) : model_(model) {
    model_.pass.update_running_stats = false;
  }
  ~KeepRunningStatistics() { model_.pass.update_running_stats = true; }
  KeepRunningStatistics(const KeepRunningStatistics&) = delete;
  KeepRunningStatistics& operator=(const KeepRunningStatistics&) = delete;

 private:
  ClipModel& model_;
};

}  // namespace

TrainStep::TrainStep(const RunConfig& config, ClipModel& model, Ranks& ranks, at::Device device)
    : config_(config),
      model_(model),
      ranks_(ranks),
      device_(device),
      loss_(model.is_classifier() ? nullptr : find_loss(config.loss.kind)),
      tier_(read_loss_tier(config.loss.tier, device)),
      trained_(trained_parameters(config.model, model)),
      reducer_(trained_, device.is_cuda() ? *ranks.device : *ranks.host,
               GradientReducer::kBucketBytes, config.optimizer.zero1),
      optimizer_(make_optimizer(config.optimizer, trained_, reducer_)),
      uploader_(device, config.preprocess) {
  model_.pass.pack_text = config.model.pack_text == "auto";
  model_.pass.prune_last_block = config.model.prune_last_block == "auto";
  model_.pass.dropout_seed = config.run.seed;
  if (trained_.empty()) throw UsageError("nothing to train: both towers are locked");
}

TrainStep::Features TrainStep::forward(const UploadedBatch& batch, std::int64_t first,
                                       std::int64_t rows) {
  // Patch dropout draws by position, so that rows that run again drop the same patches.
  model_.pass.dropout_positions.assign(positions_.begin() + first,
                                       positions_.begin() + first + rows);
  const Autocast autocast(config_.train.precision == "bf16", device_);
  Features features;
  if (!model_.is_classifier()) {
    features.text_BD = model_.encode_text(batch.tokens_BL.narrow(0, first, rows), true);
  }
  features.image_BD = model_.encode_image(uploader_.images(batch, first, rows), true);
  if (model_.is_classifier()) features.image_BD = model_.class_logits(features.image_BD);
  return features;
}

LossOutput TrainStep::loss_of(const Features& features, const at::Tensor& labels_B) {
  Communicator& ranks = device_.is_cuda() ? *ranks_.device : *ranks_.host;
  const auto precise = features.image_BD.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  LossInput input;
  input.image_BD = features.image_BD.detach().to(precise).contiguous();
  if (loss_ == nullptr) {
    const ClassLossOutput loss = cross_entropy_loss(input.image_BD, labels_B, ranks);
    LossOutput output;
    output.loss = loss.loss;
    output.d_image_BD = loss.d_logits_BK;
    return output;
  }
  input.text_BD = features.text_BD.detach().to(precise).contiguous();
  input.logit_scale = model_.logit_scale().detach();
  if (model_.logit_bias().defined()) input.logit_bias = model_.logit_bias().detach();
  input.max_logit_scale = config_.loss.max_logit_scale;
  input.tier = tier_;
  return loss_(input, ranks);
}

void TrainStep::backward(const Features& features, const LossOutput& loss, std::int64_t first) {
  // Images first: their buckets travel while the text tower still runs backward.
  for (const auto& [feature, gradient] : {std::pair{features.image_BD, loss.d_image_BD},
                                          std::pair{features.text_BD, loss.d_text_BD}}) {
    if (!feature.defined() || !feature.requires_grad()) continue;
    const at::Tensor rows = gradient.narrow(0, first, feature.size(0));
    torch::autograd::backward({feature}, {rows.to(feature.scalar_type())});
  }
}

LossOutput TrainStep::run_whole(const UploadedBatch& batch) {
  const Features features = forward(batch, 0, std::ssize(positions_));
  LossOutput loss = loss_of(features, batch.labels_B);
  backward(features, loss, 0);
  return loss;
}

LossOutput TrainStep::run_accumulated(const UploadedBatch& batch, std::int64_t rows) {
  const std::int64_t all = std::ssize(positions_);
  std::vector<at::Tensor> images, texts;
  {
    const at::NoGradGuard no_grad;
    const KeepRunningStatistics keep(model_);
    for (std::int64_t first = 0; first < all; first += rows) {
      const Features f = forward(batch, first, std::min(rows, all - first));
      images.push_back(f.image_BD);
      if (f.text_BD.defined()) texts.push_back(f.text_BD);
    }
  }
  const Features features{at::cat(images), texts.empty() ? at::Tensor() : at::cat(texts)};
  LossOutput loss = loss_of(features, batch.labels_B);
  for (std::int64_t first = 0; first < all; first += rows) {
    reducer_.set_sync(first + rows >= all);
    backward(forward(batch, first, std::min(rows, all - first)), loss, first);
  }
  return loss;
}

void TrainStep::add_scale_gradients(const LossOutput& loss) {
  const auto add = [&](at::Tensor& parameter, const at::Tensor& gradient) {
    if (!parameter.defined() || !gradient.defined()) return;
    parameter.mutable_grad().add_(gradient.to(parameter.scalar_type()).reshape_as(parameter));
    reducer_.mark_ready(parameter);
  };
  const at::NoGradGuard no_grad;
  add(model_.logit_scale(), loss.d_logit_scale);
  add(model_.logit_bias(), loss.d_logit_bias);
}

Moments TrainStep::moments() const {
  Moments moments;
  if (!reducer_.sharded() && ranks_.rank() != 0) return moments;
  for (const auto& [name, tensor] : optimizer_.state()) {
    moments.tensors.emplace_back(
        name, tensor.to(at::kCPU, tensor.scalar_type(), false, /*copy=*/true).contiguous());
  }
  if (!reducer_.sharded()) return moments;
  for (const GradientReducer::Slice& slice : reducer_.owned()) {
    moments.slices[slice.name] = {slice.first, slice.parameter.sizes().vec()};
  }
  return moments;
}

StepResult TrainStep::run(const Batch& batch, double lr, const Accept& accept) {
  const UploadedBatch uploaded = uploader_.upload(batch);
  positions_.clear();
  for (const Row& row : batch.row) positions_.push_back(row.position);
  const std::int64_t micro = config_.train.micro_batch;
  reducer_.zero();
  std::vector<at::Tensor> statistics;
  for (const at::Tensor& buffer : model_.buffers()) statistics.push_back(buffer.clone());
  const LossOutput loss =
      micro > 0 && micro < batch.rows ? run_accumulated(uploaded, micro) : run_whole(uploaded);
  add_scale_gradients(loss);
  reducer_.finish();

  StepResult result;
  result.loss = loss.loss.item<double>();
  result.grad_norm = reducer_.norm();
  const bool finite = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  result.skipped = (accept && !accept(result.loss, result.grad_norm)) || !finite;
  if (!result.skipped) {
    const auto limit = config_.optimizer.clip_norm;
    optimizer_.step(lr, limit ? clip_factor(result.grad_norm, *limit) : 1.0);
    reducer_.share_parameters();
    const at::NoGradGuard no_grad;
    model_.logit_scale().clamp_(0.0, std::log(config_.loss.max_logit_scale));
  } else {
    // A NaN in running statistics would stay for ever: evaluation and resume would fail.
    const std::vector<at::Tensor> buffers = model_.buffers();
    for (std::size_t i = 0; i < buffers.size(); ++i) buffers[i].copy_(statistics[i]);
  }
  uploader_.wait_copied();
  return result;
}

}  // namespace plumbline
