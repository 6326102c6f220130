// What a run writes: terminal, metrics, TensorBoard, evaluation, checkpoints.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "dist/agree.h"
#include "plumbline/error.h"
#include "plumbline/eval.h"
#include "train/peak_flops.h"
#include "train/trainer.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

/// Dense bf16 peak of the GPU, FLOP/s; 0 when unknown.
double peak_flops(const at::Device& device, const std::string& precision) {
  if (!device.is_cuda() || precision != "bf16") return 0;
  static const double kPeak = bf16_peak_flops(host_gpu_model());
  return kPeak;
}

NamedTensors snapshot(const NamedTensors& tensors) {
  NamedTensors copy;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor host = tensor.detach().to(at::kCPU);
    copy.emplace_back(name, host.is_alias_of(tensor) ? host.clone() : host);
  }
  return copy;
}

/// The averaged weights stand in the model while this lives.
class ScoreAverage {
 public:
  explicit ScoreAverage(std::optional<WeightAverage>& average) : average_(average) {
    if (average_) average_->swap();
  }
  ~ScoreAverage() {
    if (average_) average_->swap();
  }
  ScoreAverage(const ScoreAverage&) = delete;
  ScoreAverage& operator=(const ScoreAverage&) = delete;

 private:
  std::optional<WeightAverage>& average_;
};

}  // namespace

void Trainer::open_files() {
  if (!is_root()) return;
  const auto warn = [this](const std::string& what) { log_.warn(what); };
  events_ = std::make_unique<EventsFile>(folder_.events(), warn);
  metrics_ = std::make_unique<MetricsFile>(folder_.metrics(), progress_.step, warn);
  if (config_.log.tensorboard) {
    tensorboard_ = std::make_unique<TensorBoardFile>(folder_.root + "/tensorboard", warn);
  }
  const Json values = {{"world", ranks_.size()},
                       {"device", device_.str()},
                       {"total_steps", total_steps_},
                       {"samples", progress_.samples}};
  events_->write(progress_.step > 0 ? "resume" : "start", progress_.step, values.dump());
}

void Trainer::print_start() {
  if (!is_root()) return;
  std::int64_t parameters = 0;
  for (const at::Tensor& p : model_->parameters()) parameters += p.numel();
  log_.info(str(config_.run.name, ": ", config_.resolved_model.name, ", ",
                fixed(static_cast<double>(parameters) / 1e6, 1), " M parameters, ", ranks_.size(),
                " rank(s) over ", ranks_.host->name(), " on ",
                device_.is_cuda() ? "GPU" : "CPU (no GPU is used)", ", global batch ",
                config_.train.global_batch));
  log_.info(str("data: ", loader_->epoch_samples(), " pairs an epoch, ", loader_->stats().threads,
                " decoding threads a rank, at most ", loader_->memory_bound() >> 20, " MB"));
  log_.info(progress_.step > 0 ? str("going on after step ", progress_.step, " of ", total_steps_)
                               : str(total_steps_, " steps into ", folder_.root));
}

void Trainer::log_step(const StepResult& result, double lr, double seconds, double data_wait_s) {
  const double waited = step_->reducer().seconds_waiting();
  window_.seconds += seconds;
  trained_s_ += seconds;
  window_.data_wait_s += data_wait_s;
  window_.comm_wait_s += waited - waited_comm_s_;
  waited_comm_s_ = waited;
  ++window_.steps;
  smooth_step_s_ = smooth_step_s_ == 0 ? seconds : 0.95 * smooth_step_s_ + 0.05 * seconds;

  const bool last = progress_.step == total_steps_;
  if (progress_.step % config_.log.every_steps == 0 || progress_.step == 1 || last) {
    double sums[3] = {window_.data_wait_s, window_.comm_wait_s,
                      static_cast<double>(loader_->stats().bad_samples())};
    ranks_.host->all_reduce(std::span<double>(sums), Reduce::sum);
    if (is_root()) {
      const double all_seconds = window_.seconds * ranks_.size();
      const double batch = static_cast<double>(config_.train.global_batch);
      StepMetrics m;
      m.step = progress_.step;
      m.samples = progress_.samples;
      m.epoch =
          static_cast<double>(progress_.samples) / static_cast<double>(loader_->epoch_samples());
      m.loss = result.loss;
      m.logit_scale = std::exp(model_->logit_scale().item<double>());
      m.lr = lr;
      m.grad_norm = result.grad_norm;
      m.samples_per_s = batch * static_cast<double>(window_.steps) / window_.seconds;
      m.step_ms = 1000 * window_.seconds / static_cast<double>(window_.steps);
      m.data_wait_frac = sums[0] / all_seconds;
      m.comm_wait_frac = sums[1] / all_seconds;
      if (const double peak = peak_flops(device_, config_.train.precision); peak > 0) {
        m.mfu =
            3 * forward_flops(config_.resolved_model) * m.samples_per_s / (peak * ranks_.size());
      }
      m.rss_mb = resident_mb();
      m.bad_samples = static_cast<std::int64_t>(sums[2]);
      m.skipped_steps = progress_.skipped_steps;
      metrics_->write(m);
      if (tensorboard_) {
        tensorboard_->write(m.step, {{"train/loss", m.loss},
                                     {"train/lr", m.lr},
                                     {"train/logit_scale", m.logit_scale},
                                     {"train/grad_norm", m.grad_norm},
                                     {"speed/samples_per_s", m.samples_per_s},
                                     {"speed/data_wait_frac", m.data_wait_frac},
                                     {"speed/comm_wait_frac", m.comm_wait_frac}});
      }
    }
    window_ = {};
  }
  show_progress(result);
}

void Trainer::show_progress(const StepResult& result) {
  if (!is_root()) return;
  const bool last = progress_.step == total_steps_;
  const double interval = log_.is_terminal() ? 0.2 : 10.0;
  if (!last && progress_.step != first_step_ + 1 && seconds_since(last_progress_) < interval)
    return;
  last_progress_ = Clock::now();
  const double left = smooth_step_s_ * static_cast<double>(total_steps_ - progress_.step);
  log_.progress(str("step ", progress_.step, "/", total_steps_, "  loss ", fixed(result.loss, 4),
                    "  ",
                    fixed(static_cast<double>(config_.train.global_batch) / smooth_step_s_, 0),
                    " pairs/s  left ", format_duration(left)));
}

void Trainer::share_buffers() {
  Communicator& ranks = device_.is_cuda() ? *ranks_.device : *ranks_.host;
  for (const at::Tensor& buffer : model_->buffers()) {
    if (!buffer.is_contiguous()) continue;
    ranks.broadcast(buffer.data_ptr(), static_cast<std::int64_t>(buffer.nbytes()), ElementType::u8,
                    0, current_stream(device_));
  }
}

void Trainer::checkpoint_now() {
  finish_checkpoint();
  watchdog_.enter("writing a checkpoint", progress_.step);
  share_buffers();
  last_checkpoint_ = Clock::now();
  saved_step_ = progress_.step;
  NamedTensors moments = step_->optimizer_state();
  if (is_root()) {
    Checkpoint checkpoint{snapshot(model_->state_dict()),
                          std::move(moments),
                          average_ ? snapshot(average_->tensors()) : NamedTensors{},
                          progress_,
                          to_yaml(config_),
                          config_.resolved_model.source_json};
    writing_ =
        std::async(config_.checkpoint.background ? std::launch::async : std::launch::deferred,
                   [dir = folder_.checkpoints(), c = std::move(checkpoint)] {
                     return write_checkpoint(dir, c);
                   });
  }
  if (!config_.checkpoint.background) finish_checkpoint();
}

/// Waits for the write under way. A failed one leaves the older checkpoint in place and the run
/// going; the third in a row ends it, because a run that cannot be resumed only burns money. The
/// `last` one of a process must not fail: its steps would be lost behind an exit code that says all
/// is well.
void Trainer::finish_checkpoint(bool last) {
  agree(*ranks_.host, [&] {
    if (is_root() && writing_.valid()) {
      std::int64_t bytes = 0;
      std::string problem;
      try {
        bytes = writing_.get();
      } catch (const std::exception& e) {
        problem = e.what();
      }
      if (problem.empty()) {
        failed_checkpoints_ = 0;
        events_->write("checkpoint", saved_step_, str("{\"bytes\":", bytes, "}"));
        prune_checkpoints(folder_.checkpoints(), config_.checkpoint.keep_last,
                          config_.checkpoint.keep_every_steps);
      } else {
        ++failed_checkpoints_;
        log_.warn(str("checkpoint of step ", saved_step_, " failed: ", problem));
        events_->write("checkpoint_failed", saved_step_, Json({{"why", problem}}).dump());
      }
    }
    if (failed_checkpoints_ >= (last ? 1 : 3)) {
      throw Error(str("the checkpoint of step ", saved_step_, " could not be written (",
                      failed_checkpoints_, " in a row); the last good one is kept"),
                  ExitCode::resumable);
    }
  });
}

/// Whether the process that this one goes on from has evaluated its last step. What stands there
/// after a step of this process is of another history and is written anew.
bool Trainer::is_evaluated() {
  const bool found = progress_.step == first_step_ &&
                     std::filesystem::exists(folder_.evaluation(progress_.step) + "/results.json");
  return ranks_.host->all_reduce(found ? 1.0 : 0.0, Reduce::min) > 0;
}

/// The evaluations between the first step and the last. Returns false when a signal stopped one.
bool Trainer::evaluate_if_due() {
  const std::int64_t every = config_.evaluate.every_steps, step = progress_.step;
  const bool due = every > 0 && step > 0 && step < total_steps_ && step % every == 0;
  return !due || is_evaluated() || evaluate_now();
}

/// Returns false when a signal stopped it; nothing is written then.
bool Trainer::evaluate_now() {
  if (config_.evaluate.suite.empty()) return true;
  watchdog_.enter("evaluation", progress_.step);
  share_buffers();
  const auto begin = Clock::now();
  EvalSuite suite;
  agree(*ranks_.host, [&] { suite = read_suite(config_.evaluate.suite); });
  EvalContext context{*model_, *tokenizer_, config_.preprocess, *ranks_.host, device_};
  context.batch = config_.evaluate.batch;
  context.stop = [this] {
    watchdog_.enter("evaluation", progress_.step);
    return signal_.received() != 0;
  };
  EvalResults results;
  try {
    const ScoreAverage score(average_);
    results = evaluate(suite, context);
  } catch (const AgreedError& e) {
    if (e.code() != ExitCode::resumable) throw;
    return false;
  }
  results.step = progress_.step;
  results.samples = progress_.samples;
  results.model = config_.resolved_model.name;
  if (average_) results.ema = config_.train.ema;
  results.checkpoint = folder_.checkpoints() + "/" + checkpoint_name(progress_.step);
  agree(*ranks_.host, [&] {
    if (!is_root()) return;
    try {
      write_results(results, folder_.evaluation(progress_.step));
    } catch (const Error& e) {  // the disk, not the run: the same command evaluates again
      throw Error(e.what(), ExitCode::resumable);
    }
  });
  if (!is_root()) return true;
  log_.info(str("evaluation after step ", progress_.step, " (", fixed(seconds_since(begin), 1),
                " s)\n", print_table(results)));
  Json values = Json::object();
  std::vector<std::pair<std::string, double>> scalars;
  for (const SetResult& set : results.sets) {
    const std::string& name = set.options.name;
    if (set.top1) scalars.emplace_back("eval/" + name + "/top1", *set.top1);
    if (!set.mean_per_class) continue;
    values[name] = *set.mean_per_class;
    scalars.emplace_back("eval/" + name + "/mean_per_class", *set.mean_per_class);
  }
  events_->write("evaluation", progress_.step, values.dump());
  if (tensorboard_) tensorboard_->write(progress_.step, scalars);
  return true;
}

/// What limited this process, in a sentence and in numbers. Ranks are alike: rank 0 speaks for all.
void Trainer::report_loader() {
  if (!is_root() || progress_.step == first_step_) return;
  const LoaderStats stats = loader_->stats();
  log_.info(loader_verdict(stats, trained_s_));
  events_->write("data", progress_.step, loader_report(stats));
}

ExitCode Trainer::finish_run() {
  finish_checkpoint(/*last=*/true);
  if (config_.evaluate.at_end && !is_evaluated() && !evaluate_now()) return stop_early();
  if (!is_root()) return ExitCode::done;
  const double seconds = seconds_since(started_);
  const LoaderStats stats = loader_->stats();
  log_.progress("");
  log_.info(str(progress_.step == first_step_ ? "already complete" : "done", ": step ",
                progress_.step, ", ", format_duration(seconds), ", trainer waited ",
                fixed(stats.consumer_wait_s, 1), " s for data, ", stats.bad_samples(),
                " bad samples on this rank"));
  report_loader();
  events_->write("end", progress_.step, Json({{"seconds", seconds}}).dump());
  return ExitCode::done;
}

}  // namespace plumbline
