// The run file: one struct a section, one function that lists its options for the reader, the
// resolved copy in the run folder and the reference page.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/option_visitor.h"
#include "plumbline/data.h"
#include "plumbline/model.h"
#include "plumbline/optim.h"
#include "plumbline/tokenizer.h"
#include "train/guard.h"

namespace plumbline {

struct RunOptions {
  std::string name = "run";
  std::string dir = "runs/run";
  std::uint64_t seed = 0;
  bool deterministic = false;
};

struct ModelSection {
  std::string name = "ViT-B-32";
  std::string config;   ///< inline mapping as JSON; wins over name
  std::string classes;  ///< file of class names: a classifier
  std::string init;
  std::string init_templates = "openai80";  ///< of a classifier that starts from two towers
  bool lock_image = false;
  bool lock_text = false;
  double patch_dropout = -1;  ///< < 0: as the model file says
  std::string pack_text = "auto";
  std::string prune_last_block = "auto";
};

struct LossOptions {
  std::string kind = "clip";
  double max_logit_scale = 100.0;
  std::string tier = "auto";
};

struct TrainOptions {
  std::int64_t global_batch = 1024;
  std::int64_t micro_batch = 0;
  std::int64_t samples = 0;
  std::int64_t steps = 0;
  double epochs = 0;
  std::string precision = "fp32";
  std::string device = "auto";
  int threads = 0;
  double ema = 0;  ///< decay of the averaged weights; 0 = none
};

struct CheckpointOptions {
  std::int64_t every_steps = 0;
  double every_minutes = 30;
  int keep_last = 2;
  std::int64_t keep_every_steps = 0;
  std::string keep_best;  ///< SET.METRIC of the suite; empty = none
  bool background = true;
};

struct EvaluateOptions {
  std::int64_t every_steps = 0;
  std::string suite;
  int batch = 128;
  bool at_end = true;
};

struct LogOptions {
  std::int64_t every_steps = 10;
  bool tensorboard = true;
  std::string prometheus;  ///< empty: metrics.prom in the run folder
};

/// What `plumbline plan` assumes; training reads none of it. 0 = the device's usual figure.
struct PlanOptions {
  std::optional<double> gpu_hour_price;
  int gpus_per_node = 8;
  double node_gb_per_s = 0;
  double network_gb_per_s = 0;
  double network_latency_us = 0;
  double of_roofline = 0;
  double caption_tokens = 0;
  double mtbf_hours = 0;
};

struct RunConfig {
  RunOptions run;
  ModelSection model;
  TokenizerOptions tokenizer;
  DataOptions data;
  LossOptions loss;
  TrainOptions train;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  CheckpointOptions checkpoint;
  EvaluateOptions evaluate;
  LogOptions log;
  PlanOptions plan;
  PreprocessOptions preprocess;
  double watchdog_timeout_s = 600;
  NanOptions nan;
  SpikeOptions spike;
  std::int64_t replicas_every = 500;  ///< steps

  ModelOptions resolved_model;  ///< filled by read_run
};

/// Reads FILE, applies `--set` overrides, checks every key and bound, resolves the model. Throws
/// UsageError "FILE:LINE: ..." for anything wrong; nothing was written then.
[[nodiscard]] RunConfig read_run(const std::string& path,
                                 const std::vector<std::string>& overrides);

/// The options of a resolved configuration kept in a checkpoint; the model is not resolved again.
[[nodiscard]] RunConfig parse_run(const std::string& yaml, const std::string& where);

/// The complete configuration: reading it gives the same RunConfig.
[[nodiscard]] std::string to_yaml(const RunConfig& config);

/// The body of docs/reference/config.md.
[[nodiscard]] std::string run_reference();

/// Lists the options of `data:`.
void describe(OptionVisitor& v, DataOptions& data);
/// Those of an item of `data.sources`.
void describe_source(OptionVisitor& v, SourceOptions& source);

}  // namespace plumbline
