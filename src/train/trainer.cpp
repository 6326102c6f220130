// How a run starts and one step goes; what it writes stands in trainer_output.cpp.
#include "train/trainer.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "data/rank_sums.h"
#include "dist/agree.h"
#include "plumbline/error.h"
#include "plumbline/eval_suite.h"
#include "plumbline/version.h"
#include "train/imported.h"
#include "train/timed_communicator.h"

namespace plumbline {
namespace {

constexpr std::int64_t kOrderCheckEvery = 1000;  // steps

/// GPUs are used where there are any; without one the run says so and uses the CPU.
at::Device choose_device(const RunConfig& config, Ranks& ranks) {
  at::Device device = at::kCPU;
  agree(*ranks.host, [&] { device = pick_device(config.train.device, ranks.host->local_rank()); });
  const std::int64_t with_gpu =
      ranks.host->all_reduce(static_cast<std::int64_t>(device.is_cuda()), Reduce::sum);
  if (with_gpu != 0 && with_gpu != ranks.size()) {
    throw AgreedError(str("only ", with_gpu, " of the ", ranks.size(),
                          " ranks see a GPU; `plumbline doctor` on each host shows which, and "
                          "train.device=cpu does without"),
                      ExitCode::usage);
  }
  if (config.run.deterministic) {
    // NVLS sums vary between calls; a ring in the simple protocol does not.
    ::setenv("NCCL_ALGO", "Ring", 1);
    ::setenv("NCCL_PROTO", "Simple", 1);
    ::setenv("NCCL_NVLS_ENABLE", "0", 1);
  }
  if (device.is_cuda()) ranks.device = make_nccl_communicator(*ranks.host, device.index());
  return device;
}

void use_threads(const RunConfig& config) {
  if (config.train.threads > 0) at::set_num_threads(config.train.threads);
  if (config.run.deterministic) at::globalContext().setDeterministicAlgorithms(true, false);
}

std::int64_t steps_of(const RunConfig& config, std::int64_t epoch_samples) {
  if (config.train.steps > 0) return config.train.steps;
  const double samples = config.train.samples > 0
                             ? static_cast<double>(config.train.samples)
                             : config.train.epochs * static_cast<double>(epoch_samples);
  return std::max<std::int64_t>(
      1, static_cast<std::int64_t>(samples / static_cast<double>(config.train.global_batch)));
}

/// Going on from an older checkpoint would mix two histories in one run folder, and pruning, which
/// keeps the highest steps, would delete the new one's checkpoints.
void refuse_later_ones(const std::string& checkpoints, const std::string& path, std::int64_t step) {
  for (const std::string& folder : list_checkpoints(checkpoints)) {
    const std::filesystem::path later(folder);
    if (std::stoll(later.filename().string().substr(5)) <= step) return;
    if (!std::filesystem::exists(later / "manifest.json")) continue;
    throw UsageError(str(path, " is older than ", folder,
                         "; choose another run.dir, or go on from the newest with --resume auto"));
  }
}

/// The first line in which two texts differ, of both.
std::string first_difference(const std::string& a, const std::string& b) {
  std::istringstream lines_a(a), lines_b(b);
  std::string line_a, line_b;
  while (line_a == line_b) {
    const bool more_a = static_cast<bool>(std::getline(lines_a, line_a));
    const bool more_b = static_cast<bool>(std::getline(lines_b, line_b));
    if (!more_a) line_a = "nothing";
    if (!more_b) line_b = "nothing";
    if (!more_a && !more_b) break;
  }
  return str("'", line_a, "' there, '", line_b, "' here");
}

/// Ranks that read different files or are different builds would train apart, or hang.
void require_same_run(const RunConfig& config, Communicator& host) {
  const std::string mine = str("program: plumbline ", version_string(), " ", version_commit(),
                               ", LibTorch ", TORCH_VERSION, "\n", to_yaml(config));
  const std::vector<std::string> all = host.all_gather_bytes(mine);
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    throw AgreedError(str("rank ", rank, " was started with another configuration or program than ",
                          "rank 0: ", first_difference(all[0], all[rank])),
                      ExitCode::usage);
  }
}

/// How many ranks share this host's cores.
int ranks_of_this_host(Communicator& host) {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  const std::vector<std::string> names = host.all_gather_bytes(name);
  return static_cast<int>(std::count(names.begin(), names.end(), names[host.rank()]));
}

}  // namespace

ExitCode train(const RunConfig& config, const TrainRequest& request, Ranks& ranks) {
  if (config.train.global_batch % ranks.size() != 0) {
    throw AgreedError(str("train.global_batch ", config.train.global_batch,
                          " is not a multiple of the ", ranks.size(), " ranks"),
                      ExitCode::usage);
  }
  ranks.host = time_collectives(std::move(ranks.host));
  require_same_run(config, *ranks.host);
  const RunFolder folder = make_run_folder(config, *ranks.host);
  std::unique_ptr<Trainer> trainer;
  try {
    trainer = std::make_unique<Trainer>(config, request, ranks, folder);
  } catch (const AgreedError& e) {
    if (e.code() == ExitCode::usage) forget_run_folder(folder, *ranks.host);
    throw;
  }
  return trainer->run();
}

Trainer::Trainer(const RunConfig& config, const TrainRequest& request, Ranks& ranks,
                 const RunFolder& folder)
    : config_(config),
      request_(request),
      ranks_(ranks),
      device_(choose_device(config, ranks)),
      folder_(folder),
      log_(folder_.log(ranks.rank()), ranks.rank() == 0),
      guard_(config.nan, config.spike),
      watchdog_(
          config.watchdog_timeout_s,
          [this](const std::string& stall) {
            const Loader* loader = watched_loader_;
            const std::string problem =
                loader ? str(stall, "; the loader: ", loader->activity()) : stall;
            log_.error(str("rank ", ranks_.rank(), ": ", problem));
            if (!is_root())
              std::fprintf(stderr, "error: rank %d: %s\n", ranks_.rank(), problem.c_str());
          },
          [this] {
            if (ranks_.device) ranks_.device->check();
          }) {
  use_threads(config);
  watchdog_.enter("loading model and data", 0);
  agree(*ranks_.host, [&] {
    tokenizer_ = make_tokenizer(config_.tokenizer);
    if (tokenizer_->vocab_size() > config_.resolved_model.text.vocab_size) {
      throw UsageError(str("the tokenizer has ", tokenizer_->vocab_size(), " ids, the model ",
                           config_.resolved_model.name, " only ",
                           config_.resolved_model.text.vocab_size));
    }
    model_ = make_model(config_.resolved_model, config_.run.seed);
    // A mistake there would otherwise end the run at its first evaluation, hours from now.
    if (!is_root() || config_.evaluate.suite.empty()) return;
    const EvalSuite suite = read_suite(config_.evaluate.suite);
    check_paths(suite);
    if (!config_.checkpoint.keep_best.empty()) check_metric(suite, config_.checkpoint.keep_best);
  });
  load_start();
}

void Trainer::load_start() {
  std::optional<std::string> found;
  agree(*ranks_.host, [&] {
    if (request_.resume == "never") {
      if (!list_checkpoints(folder_.checkpoints()).empty()) {
        throw UsageError(str(folder_.checkpoints(),
                             " already holds checkpoints; choose another "
                             "run.dir, or resume"));
      }
    } else if (request_.resume != "auto") {
      found = resolve_checkpoint(request_.resume);
    } else if (is_root()) {
      found = newest_checkpoint(folder_.checkpoints(),
                                [&](const std::string& problem) { log_.warn(problem); });
    }
  });
  const std::string folder = ranks_.host->broadcast_bytes(found.value_or(""), 0);
  model_->to(device_);
  model_->train();
  if (!folder.empty() && request_.resume != "never") {
    load_checkpoint(folder);
  } else {
    start_fresh();
  }
}

void Trainer::tell(const std::vector<std::string>& sentences) const {
  for (const std::string& sentence : sentences) log_.info(sentence);
}

void Trainer::start_fresh() {
  if (!config_.model.init.empty()) start_from(config_.model.init);
  step_.emplace(config_, *model_, ranks_, device_);
  start_average({});
  open_loader(std::nullopt);
}

/// After the step, which says what is trained.
void Trainer::start_average(const NamedTensors& saved) {
  if (config_.train.ema == 0) {
    if (!saved.empty()) log_.warn("train.ema is 0: the checkpoint's averaged weights are dropped");
    return;
  }
  std::vector<std::string> trained;
  for (const auto& [name, parameter] : model_->named_parameters_in_order()) trained.push_back(name);
  average_.emplace(model_->state_dict(), trained, config_.train.ema);
  if (!saved.empty()) return average_->load(saved);
  if (progress_.step > 0)
    log_.warn("the checkpoint has no averaged weights: the average starts here");
}

void Trainer::load_checkpoint(const std::string& folder) {
  Checkpoint checkpoint;
  agree(*ranks_.host, [&] {
    checkpoint = read_checkpoint(folder);
    if (checkpoint.model_json != config_.resolved_model.source_json) {
      throw UsageError(str("the model of ", folder, " differs from the run file's: ",
                           checkpoint.model_json, " there, ", config_.resolved_model.source_json,
                           " here; use another run.dir, or model.init for its weights alone"));
    }
    if (is_imported(checkpoint)) tell(place_imported(checkpoint, config_, folder));
    const RunProgress& progress = checkpoint.progress;
    if (progress.samples != progress.step * config_.train.global_batch) {
      throw UsageError(str("train.global_batch is ", config_.train.global_batch, ", but ", folder,
                           " counts ", progress.samples, " pairs in ", progress.step,
                           " steps; use another run.dir, or model.init for its weights alone"));
    }
    if (is_root() && request_.resume != "auto") {
      refuse_later_ones(folder_.checkpoints(), folder, progress.step);
    }
    tell(load_state_dict(*model_, checkpoint.model, folder));
  });
  progress_ = checkpoint.progress;
  guard_.load(progress_.guard);
  step_.emplace(config_, *model_, ranks_, device_);
  agree(*ranks_.host, [&] {
    step_->optimizer().load_state(checkpoint.optimizer, checkpoint.progress.applied_steps);
    start_average(checkpoint.ema);
  });
  saved_step_ = progress_.step;
  resumed_loader_ = checkpoint.progress.loader;
  open_loader(resumed_loader_);
}

void Trainer::open_loader(const std::optional<LoaderState>& from) {
  LoaderContext context;
  context.seed = config_.run.seed;
  context.global_batch = config_.train.global_batch;
  context.rank = ranks_.rank();
  context.world = ranks_.size();
  context.local_world = ranks_of_this_host(*ranks_.host);
  context.preprocess = config_.preprocess;
  context.classes = std::ssize(config_.resolved_model.class_names);
  if (!model_->is_classifier()) context.tokenizer = tokenizer_.get();
  context.quarantine_path = is_root()
                                ? folder_.root + "/quarantine.jsonl"
                                : str(folder_.root, "/log/quarantine-", ranks_.rank(), ".jsonl");
  if (device_.is_cuda()) context.allocate = pinned_allocator();
  context.warn = [this](const std::string& line) { warn_of_data(line); };
  agree(*ranks_.host, [&] {
    loader_ = std::make_unique<Loader>(config_.data, context, from);
    watched_loader_ = loader_.get();
    total_steps_ = steps_of(config_, loader_->epoch_samples());
  });
  const auto seen = ranks_.host->all_gather_bytes(loader_->state().fingerprint);
  agree(*ranks_.host, [&] { check_same_data(seen); });
}

ExitCode Trainer::run() {
  first_step_ = progress_.step;
  started_ = last_checkpoint_ = last_progress_ = Clock::now();
  describe_run(folder_, config_, *ranks_.host, request_.command_line);
  agree(*ranks_.host, [&] { open_files(); });
  print_start();
  // An earlier process may have ended between the last step and its evaluation.
  if (!evaluate_if_due()) return stop_early();
  while (progress_.step < total_steps_) {
    one_step();
    const Decision decision = decide();
    const bool last = progress_.step == total_steps_;
    if (decision.written) finish_checkpoint();
    if (decision.checkpoint || decision.stop || last) checkpoint_now();
    if ((decision.stop && !last) || !evaluate_if_due()) return stop_early();
  }
  return finish_run();
}

ExitCode Trainer::stop_early() {
  if (saved_step_ != progress_.step) checkpoint_now();
  finish_checkpoint(/*last=*/true);
  report_loader(loader_stats());
  if (is_root()) {
    events_->write("signal", progress_.step, str("{\"signal\":", signal_.received(), "}"));
    log_.info(str("stopped by a signal after step ", progress_.step,
                  "; the same command goes on from there"));
  }
  return ExitCode::resumable;
}

void Trainer::one_step() {
  const auto begin = Clock::now();
  const double waited = seconds_waiting_for_ranks();
  const Batch* batch = nullptr;
  watchdog_.enter("waiting for data", progress_.step);
  agree(*ranks_.host, [&] { batch = loader_->next(); });
  // Without the wait for the loaders of other ranks.
  const double data_wait_s = seconds_since(begin) - (seconds_waiting_for_ranks() - waited);
  const double lr =
      learning_rate(config_.schedule, config_.optimizer.lr, progress_.step, total_steps_);
  watchdog_.enter("forward, loss, backward, update", progress_.step);
  Health health = Health::good;
  const StepResult result = step_->run(*batch, lr, [&](double loss, double grad_norm) {
    health = guard_.judge(progress_.step + 1, loss, grad_norm);
    return !guard_.skips(health);
  });
  std::vector<std::string> keys;
  if (health != Health::good) keys = keys_of_step(*batch);
  loader_->release(batch);
  if (average_ && !result.skipped) average_->update();

  ++progress_.step;
  progress_.samples += config_.train.global_batch;
  progress_.skipped_steps += result.skipped ? 1 : 0;
  progress_.applied_steps = step_->optimizer().applied_steps();
  progress_.loader = loader_->state();
  progress_.guard = guard_.state();
  if (health != Health::good) tell_trouble(health, result, keys);
  const double seconds = seconds_since(begin);
  stragglers_.add(seconds, data_wait_s, seconds_waiting_for_ranks() - waited);
  log_step(result, lr, seconds);
  if (guard_.wants_rollback()) roll_back();
}

/// Of the global batch, in row order, on rank 0. Collective.
std::vector<std::string> Trainer::keys_of_step(const Batch& batch) {
  std::string mine;
  for (const Row& row : batch.row) mine += row.key + "\n";
  std::vector<std::string> keys;
  for (const std::string& rank : ranks_.host->all_gather_bytes(mine)) {
    std::istringstream lines(rank);
    for (std::string key; std::getline(lines, key);) keys.push_back(key);
  }
  return keys;
}

Trainer::Decision Trainer::decide() {
  watchdog_.enter("agreeing with the other ranks", progress_.step);
  if (ranks_.device) {
    ranks_.device->check();
    if (progress_.step % kOrderCheckEvery == 0) check_same_order(*ranks_.host, *ranks_.device);
  }
  if (progress_.step % kOrderCheckEvery == 0) check_same_order(*ranks_.host);
  const double minutes = config_.checkpoint.every_minutes;
  const bool by_time = is_root() && minutes > 0 && seconds_since(last_checkpoint_) >= 60 * minutes;
  double words[3] = {signal_.received() != 0 ? 1.0 : 0.0, by_time ? 1.0 : 0.0,
                     is_writing() ? 1.0 : 0.0};
  ranks_.host->all_reduce(std::span<double>(words), Reduce::max);
  const std::int64_t every = config_.checkpoint.every_steps, step = progress_.step;
  const bool by_step = every > 0 && step % every == 0;
  const bool for_best = !config_.checkpoint.keep_best.empty() && evaluation_is_due();
  // Weights under suspicion must not push good ones out.
  const bool due = (words[1] > 0 || by_step || for_best) && !guard_.in_trouble();
  const std::int64_t compare = config_.replicas_every;
  if (compare > 0 && step % compare == 0 && !due) check_weights();
  return {words[0] > 0, due, writing_.valid() && words[2] == 0};
}

double Trainer::seconds_since(Clock::time_point t) const {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

}  // namespace plumbline
