#include "train/trained_model.h"

#include "plumbline/error.h"
#include "train/run_config.h"

namespace plumbline {

TrainedModel open_checkpoint(const std::string& path) {
  TrainedModel trained;
  trained.folder = resolve_checkpoint(path);
  Checkpoint checkpoint = read_checkpoint(trained.folder, false);
  const RunConfig config = parse_run(checkpoint.config_yaml, trained.folder + "/manifest.json");
  ModelOptions options = parse_model(checkpoint.model_json, trained.folder);
  // The sigmoid loss gives a bias to any model, whatever its configuration says.
  if (config.loss.kind == "siglip" && !options.init_logit_bias) options.init_logit_bias = 0.0;
  trained.model = make_model(options, 0);
  const bool raw = path.ends_with("/model.safetensors") || path == "model.safetensors";
  if (!checkpoint.ema.empty() && !raw) {
    checkpoint.model = std::move(checkpoint.ema);
    trained.ema = config.train.ema;
  }
  (void)load_state_dict(*trained.model, checkpoint.model, trained.folder);
  trained.model->eval();
  trained.tokenizer = make_tokenizer(config.tokenizer);
  trained.preprocess = config.preprocess;
  trained.preprocess.height = options.vision.image_height;
  trained.preprocess.width = options.vision.image_width;
  trained.preprocess.order = config.data.resize_order;
  trained.progress = checkpoint.progress;
  return trained;
}

}  // namespace plumbline
