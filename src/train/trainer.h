// The training loop of one rank: resume, steps, metrics, evaluation, checkpoints, signals.
#pragma once

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "log/log.h"
#include "plumbline/data.h"
#include "plumbline/eval_suite.h"
#include "plumbline/model.h"
#include "plumbline/train.h"
#include "train/checkpoint.h"
#include "train/energy.h"
#include "train/metrics.h"
#include "train/prometheus.h"
#include "train/run_config.h"
#include "train/run_folder.h"
#include "train/step.h"
#include "train/stop_signal.h"
#include "train/straggler.h"
#include "train/watchdog.h"

namespace plumbline {

class Trainer {
 public:
  Trainer(const RunConfig& config, const TrainRequest& request, Ranks& ranks,
          const RunFolder& folder);
  [[nodiscard]] ExitCode run();

 private:
  using Clock = std::chrono::steady_clock;

  /// What all ranks decide together at the end of a step.
  struct Decision {
    bool stop = false;
    bool checkpoint = false;
    bool written = false;  ///< every rank has written its part of the checkpoint under way
  };

  void load_start();
  void tell(const std::vector<std::string>& sentences) const;
  void start_fresh();
  void start_from(const std::string& path);
  void load_checkpoint(const std::string& folder);
  void start_average(const NamedTensors& saved);
  void open_loader(const std::optional<LoaderState>& from);
  void open_files();
  void print_start();

  void one_step();
  [[nodiscard]] std::vector<std::string> keys_of_step(const Batch& batch);
  void tell_trouble(Health health, const StepResult& result, const std::vector<std::string>& keys);
  [[nodiscard]] Decision decide();
  [[nodiscard]] double seconds_waiting_for_ranks() const;
  void log_step(const StepResult& result, double lr, double seconds);
  void log_window(const StepResult& result, double lr);
  void write_metrics(const StepMetrics& metrics);
  void tell_stragglers();
  void show_progress(const StepResult& result);
  void check_weights();
  void checkpoint_now();
  [[nodiscard]] bool is_writing() const;
  void finish_checkpoint(bool last = false);
  void checkpoint_failed(const std::string& problem, bool last);
  [[noreturn]] void give_up_checkpoints() const;
  void prune();
  [[nodiscard]] std::string trusted_checkpoint();
  void roll_back();
  void note_best(const EvalResults& results);
  [[nodiscard]] bool evaluate_now();
  [[nodiscard]] bool evaluation_is_due() const;
  [[nodiscard]] bool evaluate_if_due();
  [[nodiscard]] bool is_evaluated();
  void share_buffers();
  [[nodiscard]] ExitCode stop_early();
  [[nodiscard]] ExitCode finish_run();
  [[nodiscard]] LoaderStats loader_stats() const;
  void warn_of_data(const std::string& line);
  void report_loader(const LoaderStats& stats);
  [[nodiscard]] bool is_root() const { return ranks_.rank() == 0; }
  [[nodiscard]] double seconds_since(Clock::time_point t) const;

  const RunConfig& config_;
  const TrainRequest& request_;
  Ranks& ranks_;
  at::Device device_;
  RunFolder folder_;
  Log log_;
  std::unique_ptr<EventsFile> events_;
  std::unique_ptr<MetricsFile> metrics_;
  std::unique_ptr<TensorBoardFile> tensorboard_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<ClipModel> model_;
  std::optional<TrainStep> step_;
  std::optional<WeightAverage> average_;  ///< with train.ema
  std::unique_ptr<Loader> loader_;
  std::int64_t total_steps_ = 0;
  RunProgress progress_;
  std::optional<LoaderState> resumed_loader_;
  std::int64_t first_step_ = 0;  ///< of this process
  Clock::time_point started_, last_checkpoint_, last_progress_;
  std::future<std::vector<CheckpointFile>> writing_;  ///< this rank's part; valid on all or none
  std::int64_t saved_step_ = 0;  ///< of the newest checkpoint, written or under way
  int failed_checkpoints_ = 0;   ///< in a row
  Guard guard_;
  /// Sums since the last logged step.
  struct Window {
    double seconds = 0;
    std::int64_t steps = 0;
  };
  Window window_;
  double trained_s_ = 0;  ///< all steps of this process
  StragglerTable stragglers_{*ranks_.host};
  std::unique_ptr<PrometheusFile> prometheus_;
  std::unique_ptr<EnergyMeter> energy_;  ///< of this rank's GPU
  std::optional<double> joules_;         ///< its counter, when the last window ended
  double smooth_step_s_ = 0;             ///< for the time left
  StopSignal signal_;
  std::atomic<const Loader*> watched_loader_ = nullptr;  ///< for the watchdog's thread
  Watchdog watchdog_;
};

/// The value that `checkpoint.keep_best` ("SET.top1") names; none when undefined.
[[nodiscard]] std::optional<double> value_of(const EvalResults& results, const std::string& metric);
/// Throws UsageError unless `suite` has the set and the metric exists.
void check_metric(const EvalSuite& suite, const std::string& metric);

}  // namespace plumbline
