// What a run writes: terminal, metrics, TensorBoard, evaluation, checkpoints.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/rank_sums.h"
#include "dist/agree.h"
#include "plumbline/error.h"
#include "plumbline/eval.h"
#include "train/peak_flops.h"
#include "train/timed_communicator.h"
#include "train/trainer.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kRanksTold = 64;  // the slowest ones

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
  if (device_.is_cuda()) energy_ = std::make_unique<EnergyMeter>(device_.index());
  if (!is_root()) return;
  const auto warn = [this](const std::string& what) { log_.warn(what); };
  events_ = std::make_unique<EventsFile>(folder_.events(), warn);
  metrics_ = std::make_unique<MetricsFile>(folder_.metrics(), progress_.step, warn);
  const std::string& prometheus = config_.log.prometheus;
  prometheus_ = std::make_unique<PrometheusFile>(
      prometheus.empty() ? folder_.root + "/metrics.prom" : prometheus, config_.run.name, warn);
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

/// On a GPU what compute waited for gradients; what its other collectives cost is not seen.
double Trainer::seconds_waiting_for_ranks() const {
  return seconds_in_collectives(*ranks_.host) +
         (device_.is_cuda() ? step_->reducer().seconds_waiting() : 0);
}

void Trainer::log_step(const StepResult& result, double lr, double seconds) {
  window_.seconds += seconds;
  trained_s_ += seconds;
  ++window_.steps;
  smooth_step_s_ = smooth_step_s_ == 0 ? seconds : 0.95 * smooth_step_s_ + 0.05 * seconds;
  const bool last = progress_.step == total_steps_;
  if (progress_.step % config_.log.every_steps == 0 || progress_.step == 1 || last) {
    log_window(result, lr);
  }
  show_progress(result);
}

/// Collective: the steps since the last logged one, over all ranks.
void Trainer::log_window(const StepResult& result, double lr) {
  const RankSpread spread = spread_of(stragglers_.close_window());
  const std::optional<double> joules = energy_ ? energy_->joules() : std::nullopt;
  const bool metered = joules && joules_;
  double sums[3] = {static_cast<double>(loader_->stats().bad_samples()),
                    metered ? *joules - *joules_ : 0.0, metered ? 1.0 : 0.0};
  joules_ = joules;
  ranks_.host->all_reduce(std::span<double>(sums), Reduce::sum);
  const Window window = std::exchange(window_, {});
  if (!is_root()) return;
  StepMetrics m;
  m.step = progress_.step;
  m.samples = progress_.samples;
  m.epoch = static_cast<double>(progress_.samples) / static_cast<double>(loader_->epoch_samples());
  m.loss = result.loss;
  m.logit_scale = std::exp(model_->logit_scale().item<double>());
  m.lr = lr;
  m.grad_norm = result.grad_norm;
  const auto steps = static_cast<double>(window.steps);
  m.samples_per_s = static_cast<double>(config_.train.global_batch) * steps / window.seconds;
  m.step_ms = 1000 * window.seconds / steps;
  m.data_wait_frac = spread.data_wait_frac;
  m.comm_wait_frac = spread.comm_wait_frac;
  m.data_wait_frac_max = spread.data_wait_frac_max;
  m.comm_wait_ms = spread.comm_wait_ms;
  m.busy_ms_min = spread.busy_ms_min;
  m.busy_ms_max = spread.busy_ms_max;
  m.slowest_rank = spread.slowest_rank;
  if (sums[2] == ranks_.size()) m.power_w = sums[1] / window.seconds;
  if (const double peak = peak_flops(device_, config_.train.precision); peak > 0) {
    m.mfu = 3 * forward_flops(config_.resolved_model) * m.samples_per_s / (peak * ranks_.size());
  }
  m.rss_mb = resident_mb();
  m.bad_samples = static_cast<std::int64_t>(sums[0]);
  m.skipped_steps = progress_.skipped_steps;
  m.rollbacks = std::ssize(progress_.guard.rollbacks);
  write_metrics(m);
  tell_stragglers();
}

void Trainer::write_metrics(const StepMetrics& m) {
  metrics_->write(m);
  prometheus_->write(m);
  if (!tensorboard_) return;
  tensorboard_->write(m.step, {{"train/loss", m.loss},
                               {"train/lr", m.lr},
                               {"train/logit_scale", m.logit_scale},
                               {"train/grad_norm", m.grad_norm},
                               {"speed/samples_per_s", m.samples_per_s},
                               {"speed/data_wait_frac", m.data_wait_frac},
                               {"speed/comm_wait_frac", m.comm_wait_frac}});
}

void Trainer::tell_stragglers() {
  const std::optional<Straggler>& slow = stragglers_.straggler();
  if (!slow) return;
  log_.warn(str("rank ", slow->rank, " is slow in ", slow->cause, ": its own part of a step takes ",
                fixed(slow->own_ms, 1), " ms, the median rank's ", fixed(slow->median_ms, 1)));
  const Json values = {{"rank", slow->rank},
                       {"cause", slow->cause},
                       {"own_ms", slow->own_ms},
                       {"median_ms", slow->median_ms}};
  events_->write("straggler", progress_.step, values.dump());
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

/// A step that was not good, with the samples it saw.
void Trainer::tell_trouble(Health health, const StepResult& result,
                           const std::vector<std::string>& keys) {
  if (!is_root()) return;
  const bool spike = health == Health::spike;
  log_.warn(str("step ", progress_.step, ": loss ", result.loss, ", gradient norm ",
                result.grad_norm, ": ", name_of(health), result.skipped ? ", step skipped" : ""));
  const MovingStatistics &loss = guard_.state().loss, &norm = guard_.state().grad_norm;
  Json values = {{"loss", result.loss}, {"grad_norm", result.grad_norm}};  // NaN prints as null
  if (spike) {
    values["loss_mean"] = loss.mean;
    values["loss_deviation"] = std::sqrt(loss.variance);
    values["grad_norm_mean"] = norm.mean;
    values["grad_norm_deviation"] = std::sqrt(norm.variance);
    values["skipped"] = result.skipped;
  }
  values["keys"] = keys;
  events_->write(spike ? "spike" : "skipped_step", progress_.step, values.dump());
}

/// Whether the process that this one goes on from has evaluated its last step. What stands there
/// after a step of this process is of another history and is written anew.
bool Trainer::is_evaluated() {
  const bool found = progress_.step == first_step_ &&
                     std::filesystem::exists(folder_.evaluation(progress_.step) + "/results.json");
  return ranks_.host->all_reduce(found ? 1.0 : 0.0, Reduce::min) > 0;
}

/// One between the first step and the last.
bool Trainer::evaluation_is_due() const {
  const std::int64_t every = config_.evaluate.every_steps, step = progress_.step;
  return every > 0 && step > 0 && step < total_steps_ && step % every == 0;
}

/// Returns false when a signal stopped it.
bool Trainer::evaluate_if_due() { return !evaluation_is_due() || is_evaluated() || evaluate_now(); }

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
      note_best(results);
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

void Trainer::warn_of_data(const std::string& line) {
  log_.warn(line);
  if (!events_) return;  // while the shards are opened
  events_->write("data_warning", progress_.step,
                 Json({{"message", line}}).dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// Collective: what the loaders of all ranks did.
LoaderStats Trainer::loader_stats() const {
  const LoaderStats mine = loader_->stats();
  std::vector<double> sums = loader_numbers(mine);
  ranks_.host->all_reduce(std::span<double>(sums), Reduce::sum);
  const double longest_wait_s = ranks_.host->all_reduce(mine.consumer_wait_s, Reduce::max);
  return over_ranks(mine, sums, ranks_.size(), longest_wait_s);
}

/// What limited this process, in a sentence and in numbers.
void Trainer::report_loader(const LoaderStats& stats) {
  if (!is_root() || progress_.step == first_step_) return;
  log_.info(loader_verdict(stats, trained_s_));
  events_->write("data", progress_.step, loader_report(stats));
  events_->write("ranks", progress_.step,
                 str("{\"ranks\":", rank_table_json(stragglers_.total(), kRanksTold), "}"));
}

ExitCode Trainer::finish_run() {
  finish_checkpoint(/*last=*/true);
  if (config_.evaluate.at_end && !is_evaluated() && !evaluate_now()) return stop_early();
  const LoaderStats stats = loader_stats();
  if (!is_root()) return ExitCode::done;
  const double seconds = seconds_since(started_);
  log_.progress("");
  log_.info(str(progress_.step == first_step_ ? "already complete" : "done", ": step ",
                progress_.step, ", ", format_duration(seconds), ", trainer waited ",
                fixed(stats.consumer_wait_s, 1), " s for data, ", stats.bad_samples(),
                " bad samples"));
  report_loader(stats);
  events_->write("end", progress_.step, Json({{"seconds", seconds}}).dump());
  return ExitCode::done;
}

}  // namespace plumbline
