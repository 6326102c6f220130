// What a run writes about itself: metrics.jsonl, events.jsonl, TensorBoard scalars.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "train/append_file.h"

namespace plumbline {

/// One logged step; see docs/reference/metrics.md. A value below zero where noted prints as null.
struct StepMetrics {
  std::int64_t step = 0;
  std::int64_t samples = 0;
  double epoch = 0;
  double loss = 0;
  double logit_scale = 0;
  double lr = 0;
  double grad_norm = 0;
  double samples_per_s = 0;
  double step_ms = 0;
  double data_wait_frac = 0;
  double comm_wait_frac = 0;
  double data_wait_frac_max = 0;
  double comm_wait_ms = 0;
  double busy_ms_min = 0, busy_ms_max = 0;
  std::int64_t slowest_rank = 0;
  double power_w = -1;  ///< < 0: null
  double mfu = -1;      ///< < 0: null
  double rss_mb = 0;
  double gpu_mb = -1;  ///< < 0: null
  std::int64_t bad_samples = 0;
  std::int64_t skipped_steps = 0;
  std::int64_t rollbacks = 0;
};

/// Appends JSON lines. Opening for a resumed run drops lines of steps after `last_step`, so no step
/// stands twice. The constructors here throw Error naming a file that cannot be written; write()
/// never does: what a full disk takes is told to `warn` and lost.
class MetricsFile {
 public:
  MetricsFile(const std::string& path, std::int64_t last_step, AppendFile::Warn warn = {});
  void write(const StepMetrics& metrics);

 private:
  AppendFile file_;
};

/// Rare things: start, resume, checkpoint, evaluation, signal, end. `values` is JSON of an object.
class EventsFile {
 public:
  explicit EventsFile(const std::string& path, AppendFile::Warn warn = {});
  void write(const std::string& event, std::int64_t step, const std::string& values_json = "{}");

 private:
  AppendFile file_;
};

/// Scalars in TensorBoard's event format (TFRecord framing with masked CRC-32C around Event
/// protocol buffers, written by hand: two messages do not justify a dependency).
class TensorBoardFile {
 public:
  /// Creates DIR/events.out.tfevents.TIME.plumbline.
  explicit TensorBoardFile(const std::string& dir, AppendFile::Warn warn = {});
  void write(std::int64_t step, const std::vector<std::pair<std::string, double>>& scalars);

 private:
  void record(const std::string& payload);
  AppendFile file_;
};

/// Resident memory of this process in MB (2^20 bytes).
[[nodiscard]] double resident_mb();

/// Seconds since 1970.
[[nodiscard]] double unix_time();

}  // namespace plumbline
