// Checkpoints of a run and the way back to them: written by all ranks in the background, completed
// by rank 0 when all have written; rolled back to when the run has gone wrong; what a fresh run
// starts from.
#include <nlohmann/json.hpp>
#include <set>

#include "dist/agree.h"
#include "plumbline/error.h"
#include "plumbline/eval_suite.h"
#include "train/imported.h"
#include "train/replicas.h"
#include "train/trained_model.h"
#include "train/trainer.h"
#include "train/zero_shot_head.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

NamedTensors snapshot(const NamedTensors& tensors) {
  NamedTensors copy;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor host = tensor.detach().to(at::kCPU);
    copy.emplace_back(name, host.is_alias_of(tensor) ? host.clone() : host);
  }
  return copy;
}

// What a rank tells rank 0 of its writing: its files, or what went wrong.
std::string files_written(const std::vector<CheckpointFile>& files) {
  Json list = Json::array();
  for (const CheckpointFile& file : files) {
    list.push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh3_64", file.xxh3_64}});
  }
  return Json({{"files", list}}).dump();
}

std::string failure(const std::string& problem) { return Json({{"problem", problem}}).dump(); }

/// Throws Error with the first problem of any rank.
std::vector<CheckpointFile> read_reports(const std::vector<std::string>& reports) {
  std::vector<CheckpointFile> files;
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    const Json report = Json::parse(reports[rank]);
    if (report.contains("problem")) {
      throw Error(str("rank ", rank, ": ", report["problem"].get<std::string>()));
    }
    for (const Json& file : report["files"]) {
      files.push_back({file["name"], file["bytes"], file["xxh3_64"]});
    }
  }
  return files;
}

}  // namespace

// Running statistics follow each rank's own samples; the average keeps copies of them.
void Trainer::share_buffers() {
  Communicator& ranks = device_.is_cuda() ? *ranks_.device : *ranks_.host;
  std::set<std::string> trained;
  for (const auto& [name, parameter] : model_->named_parameters_in_order()) trained.insert(name);
  const auto share = [&](const NamedTensors& tensors) {
    for (const auto& [name, tensor] : tensors) {
      if (trained.contains(name) || !tensor.is_contiguous()) continue;
      ranks.broadcast(tensor.data_ptr(), static_cast<std::int64_t>(tensor.nbytes()),
                      ElementType::u8, 0, current_stream(device_));
    }
  };
  share(model_->state_dict());
  if (average_) share(average_->tensors());
}

void Trainer::check_weights() {
  if (config_.replicas_every == 0) return;
  watchdog_.enter("comparing the ranks' weights", progress_.step);
  NamedTensors weights;
  for (const auto& parameter : model_->named_parameters()) {
    weights.emplace_back(parameter.key(), parameter.value());
  }
  check_replicas(weights, *ranks_.host, progress_.step);
}

void Trainer::checkpoint_now() {
  if (saved_step_ == progress_.step && saved_step_ > 0) return;
  finish_checkpoint();
  check_weights();
  watchdog_.enter("writing a checkpoint", progress_.step);
  share_buffers();
  last_checkpoint_ = Clock::now();
  saved_step_ = progress_.step;
  std::string problem;
  try {
    if (is_root()) clear_checkpoint(folder_.checkpoints(), progress_.step);
  } catch (const Error& e) {
    problem = e.what();
  }
  problem = ranks_.host->broadcast_bytes(problem, 0);
  if (!problem.empty()) return checkpoint_failed(problem, /*last=*/false);

  Checkpoint checkpoint;
  if (is_root()) {
    checkpoint.model = snapshot(model_->state_dict());
    if (average_) checkpoint.ema = snapshot(average_->tensors());
    checkpoint.progress = progress_;
  }
  const std::string folder = folder_.checkpoints() + "/" + checkpoint_name(progress_.step);
  writing_ = std::async(config_.checkpoint.background ? std::launch::async : std::launch::deferred,
                        [folder, c = std::move(checkpoint), moments = step_->moments(),
                         rank = ranks_.rank(), world = step_->moment_files()] {
                          std::vector<CheckpointFile> files;
                          if (rank == 0) files = write_model(folder, c);
                          const std::vector<CheckpointFile> mine =
                              write_moments(folder, moments, rank, world);
                          files.insert(files.end(), mine.begin(), mine.end());
                          return files;
                        });
  if (!config_.checkpoint.background) finish_checkpoint();
}

/// Whether this rank still writes; false without a write under way.
bool Trainer::is_writing() const {
  return writing_.valid() &&
         writing_.wait_for(std::chrono::seconds(0)) == std::future_status::timeout;
}

/// Waits for the write under way and completes it. The `last` one of a process must not fail: its
/// steps would be lost behind an exit code that says all is well. Collective.
void Trainer::finish_checkpoint(bool last) {
  if (!writing_.valid()) {
    if (last && failed_checkpoints_ > 0) give_up_checkpoints();
    return;
  }
  watchdog_.enter("finishing a checkpoint", progress_.step);
  std::string report;
  try {
    report = files_written(writing_.get());
  } catch (const std::exception& e) {
    report = failure(e.what());
  }
  const std::vector<std::string> reports = ranks_.host->all_gather_bytes(report);
  std::string problem;
  if (is_root()) {
    try {
      const CheckpointTitle title{saved_step_, saved_step_ * config_.train.global_batch,
                                  to_yaml(config_), config_.resolved_model.source_json};
      const std::int64_t bytes =
          complete_checkpoint(folder_.checkpoints(), title, read_reports(reports));
      events_->write("checkpoint", saved_step_, str("{\"bytes\":", bytes, "}"));
      prune();
    } catch (const std::exception& e) {
      problem = e.what();
    }
  }
  problem = ranks_.host->broadcast_bytes(problem, 0);
  if (!problem.empty()) return checkpoint_failed(problem, last);
  failed_checkpoints_ = 0;
}

void Trainer::prune() {
  std::int64_t best_step = -1;
  if (const std::string& metric = config_.checkpoint.keep_best; !metric.empty()) {
    const auto best = read_best(folder_.checkpoints(), metric);
    if (best) best_step = best->step;
  }
  prune_checkpoints(folder_.checkpoints(), config_.checkpoint.keep_last,
                    config_.checkpoint.keep_every_steps, best_step);
}

/// A failed write leaves the older checkpoint in place and the run going; the third in a row ends
/// it, because a run that cannot be resumed only burns money. On every rank alike.
void Trainer::checkpoint_failed(const std::string& problem, bool last) {
  ++failed_checkpoints_;
  if (is_root()) {
    discard_checkpoint(folder_.checkpoints(), saved_step_);
    log_.warn(str("checkpoint of step ", saved_step_, " failed: ", problem));
    events_->write("checkpoint_failed", saved_step_, Json({{"why", problem}}).dump());
  }
  if (failed_checkpoints_ >= (last ? 1 : 3)) give_up_checkpoints();
}

void Trainer::give_up_checkpoints() const {
  throw AgreedError(str("the checkpoint of step ", saved_step_, " could not be written (",
                        failed_checkpoints_, " in a row); the last good one is kept"),
                    ExitCode::resumable);
}

/// The newest intact checkpoint that the guard trusts; "" on every rank when there is none.
std::string Trainer::trusted_checkpoint() {
  std::string found;
  if (is_root()) {
    std::vector<std::int64_t> steps;
    for (const std::string& folder : list_checkpoints(folder_.checkpoints())) {
      steps.push_back(step_of_checkpoint(folder));
    }
    while (found.empty()) {
      const std::int64_t step = guard_.choose(steps);
      if (step < 0) break;
      const std::string folder = folder_.checkpoints() + "/" + checkpoint_name(step);
      const std::string problem = verify_checkpoint(folder);
      if (problem.empty()) {
        found = folder;
      } else {
        log_.warn(str("checkpoint ", folder, " is not usable: ", problem));
      }
      std::erase(steps, step);
    }
  }
  return ranks_.host->broadcast_bytes(found, 0);
}

/// The state of the last good checkpoint comes back; step, schedule and data go on from here, so
/// the data since that checkpoint are not seen again. A checkpoint of this very step is written, so
/// that a resumed run has the same history.
void Trainer::roll_back() {
  finish_checkpoint();
  watchdog_.enter("rolling back", progress_.step);
  const Health why = guard_.trouble();
  const std::int64_t since = guard_.state().trouble_since, at = progress_.step;
  const std::string what = str("loss or gradient was ", name_of(why), " since step ", since);
  if (!guard_.may_roll_back()) {
    throw AgreedError(
        str(what, " up to step ", at, ", and the ", guard_.state().rollbacks.size(),
            " rollback(s) of this run did not help; the run is given up: lower optimizer.lr, or "
            "look at the samples in events.jsonl"),
        ExitCode::internal);
  }
  const std::string folder = trusted_checkpoint();
  if (folder.empty()) {
    if (why == Health::spike) {
      log_.warn(what + "; there is no checkpoint from before to go back to");
      return guard_.forget_spikes();
    }
    throw AgreedError(str(what, " up to step ", at,
                          ", and no checkpoint from before can come back; the run is given up: "
                          "lower optimizer.lr, or look at the samples in events.jsonl"),
                      ExitCode::internal);
  }
  Checkpoint checkpoint;
  agree(*ranks_.host, [&] {
    checkpoint = read_checkpoint(folder);
    (void)load_state_dict(*model_, checkpoint.model, folder);
    step_->optimizer().load_state(checkpoint.optimizer, checkpoint.progress.applied_steps);
    start_average(checkpoint.ema);
  });
  const std::int64_t to = checkpoint.progress.step;
  guard_.rolled_back(checkpoint.progress.guard, to, at);
  progress_.guard = guard_.state();
  progress_.applied_steps = checkpoint.progress.applied_steps;
  if (is_root()) {
    log_.warn(str(what, ": the weights of step ", to, " are back; the data of the steps ", to + 1,
                  " to ", at, " are left behind"));
    events_->write("rollback", at,
                   Json({{"why", name_of(why)},
                         {"since", since},
                         {"checkpoint", to},
                         {"first_lost_step", to + 1},
                         {"last_lost_step", at}})
                       .dump());
  }
  saved_step_ = 0;
  checkpoint_now();
}

/// After an evaluation: is it the best so far by checkpoint.keep_best? Rank 0.
void Trainer::note_best(const EvalResults& results) {
  const std::string& metric = config_.checkpoint.keep_best;
  if (metric.empty()) return;
  const std::string dir = folder_.checkpoints();
  const std::optional<double> value = value_of(results, metric);
  const std::optional<BestCheckpoint> best = read_best(dir, metric);
  if (!value || (best && best->value >= *value)) return;
  write_best(dir, {metric, *value, progress_.step});
  log_.info(str("step ", progress_.step, " is the best so far: ", metric, " ", *value));
}

std::optional<double> value_of(const EvalResults& results, const std::string& metric) {
  for (const SetResult& set : results.sets) {
    const std::string prefix = set.options.name + ".";
    if (!metric.starts_with(prefix)) continue;
    const std::string name = metric.substr(prefix.size());
    if (name == "top1") return set.top1;
    if (name == "top5") return set.top5;
    if (name == "mean_per_class") return set.mean_per_class;
  }
  return std::nullopt;
}

void check_metric(const EvalSuite& suite, const std::string& metric) {
  for (const EvalSetOptions& set : suite.sets) {
    for (const char* name : {".top1", ".top5", ".mean_per_class"}) {
      if (metric == set.name + name) return;
    }
  }
  throw UsageError(str("checkpoint.keep_best is '", metric,
                       "', but evaluate.suite has no such set, or the metric is none of top1, "
                       "top5, mean_per_class"));
}

void Trainer::start_from(const std::string& path) {
  std::optional<TrainedModel> clip;  // whose zero-shot classifier is the start
  std::vector<std::vector<std::string>> prompts;
  agree(*ranks_.host, [&] {
    if (path.ends_with(".safetensors")) {
      tell(load_state_dict(*model_, read_safetensors(path).tensors, path));
      return;
    }
    const std::string folder = resolve_checkpoint(path);
    const Checkpoint checkpoint = read_checkpoint(folder, false);
    if (model_->is_classifier() && parse_model(checkpoint.model_json, folder).class_names.empty()) {
      clip = open_checkpoint(path);
      prompts = class_prompts(config_.resolved_model.class_names, config_.model.init_templates, "");
      return;
    }
    check_activations(checkpoint, config_.resolved_model, folder);
    tell(load_state_dict(*model_, checkpoint.model, folder));
  });
  if (!clip) return;
  const NamedTensors start =
      zero_shot_classifier(*clip, config_.resolved_model, prompts, *ranks_.host, device_);
  agree(*ranks_.host, [&] { tell(load_state_dict(*model_, start, clip->folder)); });
  log_.info(str("the head starts as the zero-shot classifier of ", clip->folder, ": ",
                prompts.size(), " classes, prompts ", config_.model.init_templates));
}

}  // namespace plumbline
