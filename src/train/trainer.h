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
#include "plumbline/model.h"
#include "plumbline/train.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/run_config.h"
#include "train/run_folder.h"
#include "train/step.h"
#include "train/stop_signal.h"
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
  };

  void load_start();
  void tell(const std::vector<std::string>& sentences) const;
  void start_fresh();
  void load_checkpoint(const std::string& folder);
  void start_average(const NamedTensors& saved);
  void open_loader(const std::optional<LoaderState>& from);
  void open_files();
  void print_start();

  void one_step();
  [[nodiscard]] Decision decide();
  void log_step(const StepResult& result, double lr, double seconds, double data_wait_s);
  void show_progress(const StepResult& result);
  void checkpoint_now();
  void finish_checkpoint(bool last = false);
  [[nodiscard]] bool evaluate_now();
  [[nodiscard]] bool evaluate_if_due();
  [[nodiscard]] bool is_evaluated();
  void share_buffers();
  [[nodiscard]] ExitCode stop_early();
  [[nodiscard]] ExitCode finish_run();
  void report_loader();
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
  std::future<std::int64_t> writing_;
  std::int64_t saved_step_ = 0;  ///< of the newest checkpoint, written or under way
  int failed_checkpoints_ = 0;   ///< in a row; rank 0 alone knows
  int skipped_in_a_row_ = 0;
  /// Sums since the last logged step.
  struct Window {
    double seconds = 0, data_wait_s = 0, comm_wait_s = 0;
    std::int64_t steps = 0;
  };
  Window window_;
  double trained_s_ = 0;      ///< all steps of this process
  double waited_comm_s_ = 0;  ///< of the reducer, when the last step ended
  double smooth_step_s_ = 0;  ///< for the time left
  StopSignal signal_;
  std::atomic<const Loader*> watched_loader_ = nullptr;  ///< for the watchdog's thread
  Watchdog watchdog_;
};

}  // namespace plumbline
