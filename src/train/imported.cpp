#include "train/imported.h"

#include "plumbline/error.h"

namespace plumbline {
namespace {

template <typename T>
void compare(const char* key, const T& was, const T& is, std::vector<std::string>& told) {
  if (was == is) return;
  told.push_back(str("optimizer.", key, " is ", is, ", of the imported run it was ", was));
}

}  // namespace

bool is_imported(const Checkpoint& checkpoint) {
  return checkpoint.progress.loader.fingerprint.empty();
}

std::vector<std::string> place_imported(Checkpoint& checkpoint, const RunConfig& config,
                                        const std::string& folder) {
  RunProgress& progress = checkpoint.progress;
  if (checkpoint.optimizer.empty()) {
    throw UsageError(str(folder, " holds imported weights without optimizer state, which no run ",
                         "can go on from: begin one with model.init: ", folder,
                         " in another run.dir"));
  }
  const std::int64_t samples = progress.step * config.train.global_batch;
  std::vector<std::string> told = {
      str(folder, " was imported and does not say where in the data its run stood: the order of ",
          "this run goes on at sample ", samples, ", ", progress.step, " steps of ",
          config.train.global_batch)};
  if (progress.samples != 0 && progress.samples != samples) {
    told.push_back(str("the imported run counted ", progress.samples, " samples in them"));
  }
  const OptimizerOptions was = parse_run(checkpoint.config_yaml, folder).optimizer;
  const OptimizerOptions& is = config.optimizer;
  compare("betas[0]", was.beta1, is.beta1, told);
  compare("betas[1]", was.beta2, is.beta2, told);
  compare("eps", was.eps, is.eps, told);
  compare("weight_decay", was.weight_decay, is.weight_decay, told);
  compare("decay_rule", was.decay_rule, is.decay_rule, told);
  progress.samples = samples;
  progress.loader.position = samples;
  progress.loader.seed = config.run.seed;
  progress.loader.lanes = config.data.lanes;
  return told;
}

void check_activations(const Checkpoint& checkpoint, const ModelOptions& options,
                       const std::string& folder) {
  const ModelOptions saved = parse_model(checkpoint.model_json, folder);
  const auto compare = [&](const char* tower, const std::string& was, const std::string& is) {
    if (was == is) return;
    throw UsageError(str("the ", tower, " tower of ", folder, " has the activation ", was,
                         ", the run file's model ", options.name, " has ", is));
  };
  compare("image", saved.vision.activation, options.vision.activation);
  compare("text", saved.text.activation, options.text.activation);
}

}  // namespace plumbline
