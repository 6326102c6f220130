#include "train/run_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <sstream>

#include "core/file.h"
#include "plumbline/error.h"
#include "plumbline/loss.h"

namespace plumbline {
namespace {

constexpr double kMany = 1e15;

void describe(OptionVisitor& v, RunOptions& run) {
  v.text("name", run.name, "");
  v.text("dir", run.dir, "the run folder");
  v.value("seed", run.seed, "every random choice derives from it");
  v.value("deterministic", run.deterministic, "bitwise repeatable also on GPUs, slower");
}

void describe(OptionVisitor& v, ModelSection& model) {
  v.text("name", model.name, "a file of configs/model without its suffix, or a path");
  v.json("config", model.config, "the model's configuration inline, instead of name");
  v.path("classes", model.classes,
         "file, line i = name of class i: a classifier, with a linear head for the text tower");
  v.path("init", model.init, "checkpoint folder or .safetensors to start from");
  v.path("init_templates", model.init_templates,
         "prompts of the head when a classifier starts from a model of two towers");
  v.value("lock_image", model.lock_image, "the image tower is not trained");
  v.value("lock_text", model.lock_text, "the text tower is not trained");
  v.value("patch_dropout", model.patch_dropout, {-1, 0.999}, "-1 = as the model file says");
  v.choice("pack_text", model.pack_text, {"auto", "off"}, "exact FLOP cut; auto = where available");
  v.choice("prune_last_block", model.prune_last_block, {"auto", "off"}, "likewise");
}

void describe(OptionVisitor& v, TokenizerOptions& t) {
  v.choice("kind", t.kind, {"clip", "sentencepiece", "wordpiece"}, "");
  v.value("context_length", t.context_length, {3, 4096}, "ids a caption");
  v.path("path", t.path, "vocabulary; null = the installed CLIP one");
  v.choice("clean", t.clean, {"", "lower", "whitespace", "canonicalize"}, "empty = the kind's own");
  v.choice("reduction", t.reduction, {"", "simple", "random", "shuffle"}, "of long captions");
  v.choice("special_text", t.special_text, {"literal", "openclip"},
           "what `<end_of_text>` in a caption is");
  v.value("bos_id", t.bos_id, {-1, kMany / 1e6}, "sentencepiece; -1 = none");
  v.value("eos_id", t.eos_id, {-1, kMany / 1e6}, "sentencepiece");
  v.value("pad_id", t.pad_id, {-1, kMany / 1e6}, "sentencepiece");
  v.value("unk_id", t.unk_id, {-1, kMany / 1e6}, "sentencepiece; -1 = the model's");
  v.value("id_offset", t.id_offset, {0, kMany / 1e6}, "sentencepiece");
  v.value("strip_sep", t.strip_sep, "wordpiece: [SEP] becomes 0, as CLIPA has it");
}

void describe(OptionVisitor& v, LossOptions& loss) {
  v.text("kind", loss.kind, "`clip`, `siglip`, or `cross_entropy` (labels, needs model.classes)");
  v.value("max_logit_scale", loss.max_logit_scale, {1, 200}, "the scale is clamped to it");
  v.choice("tier", loss.tier, {"auto", "t0", "t1"},
           "of `clip`: t0 LibTorch tiles; t1 fused kernels (GPU: bfloat16, sm_80 and up)");
}

void describe(OptionVisitor& v, TrainOptions& train) {
  v.value("global_batch", train.global_batch, {1, 1 << 24}, "pairs an optimizer step, all ranks");
  v.value("micro_batch", train.micro_batch, {0, 1 << 24},
          "pairs a rank runs at once; 0 = global_batch / world; smaller = GradCache accumulation");
  v.value("samples", train.samples, {0, kMany}, "exactly one of samples, steps, epochs");
  v.value("steps", train.steps, {0, kMany}, "");
  v.value("epochs", train.epochs, {0, kMany}, "");
  v.choice("precision", train.precision, {"fp32", "bf16"}, "bf16 compute keeps fp32 weights");
  v.choice("device", train.device, {"auto", "cpu", "cuda"}, "auto = a GPU when there is one");
  v.value("threads", train.threads, {0, 1024}, "CPU compute threads a rank; 0 = auto");
  v.value(
      "ema", train.ema, {0, 0.9999999},
      "decay of a moving average of the weights, which is then what evaluation scores; 0 = off");
  const int given =
      (train.samples > 0 ? 1 : 0) + (train.steps > 0 ? 1 : 0) + (train.epochs > 0 ? 1 : 0);
  v.check(given == 1, "samples", "exactly one of samples, steps and epochs must be given");
}

void describe(OptionVisitor& v, OptimizerOptions& optimizer) {
  v.choice("kind", optimizer.kind, {"adamw"}, "");
  v.value("lr", optimizer.lr, {0, 1e3}, "peak learning rate");
  std::array<double, 2> betas = {optimizer.beta1, optimizer.beta2};
  v.value("betas", betas, "");
  optimizer.beta1 = betas[0];
  optimizer.beta2 = betas[1];
  v.check(betas[0] >= 0 && betas[0] < 1 && betas[1] >= 0 && betas[1] < 1, "betas",
          "must lie in [0, 1)");
  v.value("eps", optimizer.eps, {0, 1}, "");
  v.value("weight_decay", optimizer.weight_decay, {0, 100}, "");
  v.value("clip_norm", optimizer.clip_norm, "null = no clipping");
  v.check(!optimizer.clip_norm || *optimizer.clip_norm > 0, "clip_norm", "must be positive");
  v.choice("decay_rule", optimizer.decay_rule, {"openclip3", "openclip4"},
           "which parameters weight decay spares");
  v.value("zero1", optimizer.zero1,
          "ZeRO-1: each of W ranks keeps 1/W of the moments and updates 1/W of the weights");
}

void describe(OptionVisitor& v, ScheduleOptions& schedule) {
  v.choice("kind", schedule.kind, {"cosine", "constant", "constant_cooldown"}, "");
  v.value("warmup_steps", schedule.warmup_steps, {0, kMany}, "linear");
  v.value("min_lr", schedule.min_lr, {0, 1e3}, "end of the cosine");
  v.value("cooldown_steps", schedule.cooldown_steps, {0, kMany}, "constant_cooldown");
  v.value("cooldown_power", schedule.cooldown_power, {0, 100}, "constant_cooldown");
  v.value("cooldown_end_lr", schedule.cooldown_end_lr, {0, 1e3}, "constant_cooldown");
}

void describe(OptionVisitor& v, CheckpointOptions& checkpoint) {
  v.value("every_steps", checkpoint.every_steps, {0, kMany}, "0 = off");
  v.value("every_minutes", checkpoint.every_minutes, {0, 1e6}, "0 = off");
  v.value("keep_last", checkpoint.keep_last, {1, 1e6}, "");
  v.value("keep_every_steps", checkpoint.keep_every_steps, {0, kMany}, "0 = off");
  v.path("keep_best", checkpoint.keep_best,
         "SET.METRIC of evaluate.suite (top1, top5, mean_per_class): the checkpoint with the "
         "highest stays, and every evaluation has one");
  v.value("background", checkpoint.background, "write while training goes on");
}

void describe(OptionVisitor& v, EvaluateOptions& evaluate) {
  v.value("every_steps", evaluate.every_steps, {0, kMany}, "0 = only at the end");
  v.path("suite", evaluate.suite, "null = no evaluation");
  v.value("batch", evaluate.batch, {1, 65536}, "images a forward pass");
  v.value("at_end", evaluate.at_end, "evaluate after the last step");
}

/// The double with the fewest digits that reads back as this float: 0.48145466, not 0.481454670...
double shortest_double(float x) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, x).ptr;
  double value = 0;
  std::from_chars(text, end, value);
  return value;
}

void describe(OptionVisitor& v, PreprocessOptions& p) {
  std::vector<double> mean, std;
  for (const float x : p.mean) mean.push_back(shortest_double(x));
  for (const float x : p.std) std.push_back(shortest_double(x));
  const auto close = [](const std::vector<double>& list, std::array<float, 3>& out) {
    for (std::size_t i = 0; i < 3; ++i) {
      if (static_cast<float>(list[i]) != out[i]) out[i] = static_cast<float>(list[i]);
    }
  };
  v.value("mean", mean, "of the channels, after division by 255");
  v.value("std", std, "");
  v.check(mean.size() == 3, "mean", "expected 3 numbers");
  v.check(std.size() == 3, "std", "expected 3 numbers");
  v.check(std::all_of(std.begin(), std.end(), [](double x) { return x > 0; }), "std",
          "must be positive");
  close(mean, p.mean);
  close(std, p.std);
  std::string filter = p.filter == Filter::bicubic ? "bicubic" : "bilinear";
  v.choice("interpolation", filter, {"bicubic", "bilinear"}, "of evaluation");
  p.filter = filter == "bicubic" ? Filter::bicubic : Filter::bilinear;
  const std::vector<std::string> modes = {"shortest", "longest", "squash"};
  std::string mode = modes[static_cast<std::size_t>(p.mode)];
  v.choice("resize_mode", mode, modes, "of evaluation");
  p.mode = mode == modes[0]   ? ResizeMode::shortest
           : mode == modes[1] ? ResizeMode::longest
                              : ResizeMode::squash;
  v.value("fill", p.fill, {0, 255}, "padding of `longest`");
}

void describe(OptionVisitor& v, PlanOptions& plan) {
  v.value("gpu_hour_price", plan.gpu_hour_price, "money an hour of one GPU; null = no cost");
  v.check(!plan.gpu_hour_price || *plan.gpu_hour_price >= 0, "gpu_hour_price",
          "must not be negative");
  v.value("gpus_per_node", plan.gpus_per_node, {1, 1024}, "");
  v.value("node_gb_per_s", plan.node_gb_per_s, {0, 1e6},
          "of one GPU to its node's others, each way, 1e9 bytes; 0 = the device's link");
  v.value("network_gb_per_s", plan.network_gb_per_s, {0, 1e6},
          "of one GPU to other nodes, each way, 1e9 bytes; 0 = the device's usual network card");
  v.value("network_latency_us", plan.network_latency_us, {0, 1e6}, "between nodes; 0 = 14");
  v.value("of_roofline", plan.of_roofline, {0, 1},
          "share of the roofline that the towers reach; 0 = the device's usual one");
  v.value("caption_tokens", plan.caption_tokens, {0, 65536},
          "mean ids of a caption; 0 = by the text bytes of the index, else 20");
  v.value("mtbf_hours", plan.mtbf_hours, {0, 1e9},
          "mean hours between failures of one GPU; 0 = 50000");
}

void describe(OptionVisitor& v, RunConfig& c) {
  v.section("run", "", [&](OptionVisitor& s) { describe(s, c.run); });
  v.section("model", "", [&](OptionVisitor& s) { describe(s, c.model); });
  v.section("tokenizer", "", [&](OptionVisitor& s) { describe(s, c.tokenizer); });
  v.section("preprocess", "", [&](OptionVisitor& s) { describe(s, c.preprocess); });
  v.section("data", "", [&](OptionVisitor& s) { plumbline::describe(s, c.data); });
  v.section("loss", "", [&](OptionVisitor& s) { describe(s, c.loss); });
  v.section("train", "", [&](OptionVisitor& s) { describe(s, c.train); });
  v.section("optimizer", "", [&](OptionVisitor& s) { describe(s, c.optimizer); });
  v.section("schedule", "", [&](OptionVisitor& s) { describe(s, c.schedule); });
  v.section("checkpoint", "", [&](OptionVisitor& s) { describe(s, c.checkpoint); });
  v.section("evaluate", "", [&](OptionVisitor& s) { describe(s, c.evaluate); });
  v.section("log", "", [&](OptionVisitor& s) {
    s.value("every_steps", c.log.every_steps, {1, kMany}, "");
    s.value("tensorboard", c.log.tensorboard, "");
    s.path("prometheus", c.log.prometheus,
           "file for node_exporter's textfile collector (its name ends in .prom); null = "
           "metrics.prom in the run folder");
  });
  v.section("watchdog", "", [&](OptionVisitor& s) {
    s.value("timeout_s", c.watchdog_timeout_s, {1, 1e6}, "no progress for so long ends the run");
  });
  v.section("nan", "", [&](OptionVisitor& s) { plumbline::describe(s, c.nan); });
  v.section("spike", "", [&](OptionVisitor& s) { plumbline::describe(s, c.spike); });
  v.section("check", "silent corruption", [&](OptionVisitor& s) {
    s.value("replicas_every", c.replicas_every, {0, kMany},
            "steps between comparisons of the ranks' weights, also before each checkpoint; 0 = "
            "off");
  });
  v.section("plan", "", [&](OptionVisitor& s) { describe(s, c.plan); });
}

/// The loss, the model and what the sources bring must fit together.
void check_loss(const RunConfig& c, const ConfigNode& root) {
  const bool labels = c.loss.kind == "cross_entropy";
  const bool classifier = !c.resolved_model.class_names.empty();
  if (labels && !classifier) {
    root["model"]["classes"].fail("is required by loss.kind cross_entropy");
  }
  if (!labels && classifier) {
    root["loss"]["kind"].fail("must be cross_entropy: model.classes makes the model a classifier");
  }
  const std::vector<ConfigNode> sources = root["data"]["sources"].items();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const SourceOptions& source = c.data.sources[i];
    if (labels && source.label.key.empty() && source.synthetic.empty()) {
      sources[i]["label"].fail("is required by loss.kind cross_entropy: {key: cls}");
    }
    if (!labels && source.captions.none) {
      sources[i]["captions"].fail(str("is none, but the loss ", c.loss.kind, " compares captions"));
    }
  }
  if (labels) return;
  (void)find_loss(c.loss.kind);
  if (c.loss.kind == "ntxent") {
    root["loss"]["kind"].fail(
        "compares two views of an image; training on pairs takes clip or siglip");
  }
}

/// What only the sections together can show.
void check_together(const RunConfig& c, const ConfigNode& root) {
  if (c.tokenizer.context_length != c.resolved_model.text.context_length) {
    root["tokenizer"]["context_length"].fail(
        str("must equal the model's context_length ", c.resolved_model.text.context_length));
  }
  if (c.train.micro_batch > c.train.global_batch) {
    root["train"]["micro_batch"].fail("must not exceed global_batch");
  }
  if (c.data.train_transform.views != 1) {
    root["data"]["train_transform"]["views"].fail("must be 1: training on pairs takes one view");
  }
  if (c.evaluate.every_steps > 0 && c.evaluate.suite.empty()) {
    root["evaluate"]["every_steps"].fail("needs evaluate.suite");
  }
  if (!c.checkpoint.keep_best.empty() && c.evaluate.suite.empty()) {
    root["checkpoint"]["keep_best"].fail("needs evaluate.suite");
  }
  check_loss(c, root);
}

/// What the sigmoid loss starts from (Zhai et al. 2023, section 3.2), whatever the model file says.
void apply_siglip_start(RunConfig& c) {
  if (c.loss.kind != "siglip") return;
  c.resolved_model.init_logit_scale = std::log(10.0);
  c.resolved_model.init_logit_bias = -10.0;
}

std::vector<std::string> read_class_names(const std::string& path, const ConfigNode& at) {
  if (!std::filesystem::is_regular_file(path)) at.fail(str("names ", path, ", which is no file"));
  std::istringstream lines(read_file(path));
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (line.empty()) at.fail(str("names ", path, ", whose line ", names.size() + 1, " is empty"));
    names.push_back(line);
  }
  return names;
}

/// `captions: none` is short for `captions: {none: true}`.
void spell_out_captions(ConfigNode& root) {
  const ConfigNode list = root["data"]["sources"];
  if (!list.is_sequence()) return;
  const std::vector<ConfigNode> sources = list.items();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (!sources[i].is_map()) continue;
    const ConfigNode captions = sources[i]["captions"];
    std::string word;
    if (captions.is_scalar() && !captions.is_null()) captions.get(word);
    if (word == "none") root.set(str("data.sources.", i, ".captions={none: true}"));
  }
}

}  // namespace

RunConfig read_run(const std::string& path, const std::vector<std::string>& overrides) {
  ConfigNode root = ConfigNode::read(path);
  for (const std::string& assignment : overrides) root.set(assignment);
  spell_out_captions(root);
  RunConfig config;
  const ConfigNode model = root["model"];
  std::string name = config.model.name;
  model["name"].get(name);
  config.resolved_model = model["config"].present() && !model["config"].is_null()
                              ? parse_model(model["config"].to_json(), model["config"].where())
                              : read_model(name);
  if (std::string classes; model["classes"].present() && !model["classes"].is_null()) {
    model["classes"].get_path(classes);
    set_class_names(config.resolved_model, read_class_names(classes, model["classes"]));
  }
  // The model's own preprocessing and context length hold where the run file says nothing.
  config.preprocess = config.resolved_model.preprocess;
  config.tokenizer.context_length = config.resolved_model.text.context_length;
  describe(*option_reader(root), config);
  root.reject_unknown();
  config.preprocess.height = config.resolved_model.vision.image_height;
  config.preprocess.width = config.resolved_model.vision.image_width;
  config.preprocess.order = config.data.resize_order;
  if (config.model.patch_dropout >= 0) {
    config.resolved_model.vision.patch_dropout = config.model.patch_dropout;
  }
  apply_siglip_start(config);
  check_together(config, root);
  return config;
}

RunConfig parse_run(const std::string& yaml, const std::string& where) {
  const ConfigNode root = ConfigNode::parse(yaml, where);
  RunConfig config;
  describe(*option_reader(root), config);
  root.reject_unknown();
  return config;
}

std::string to_yaml(const RunConfig& config) {
  OptionWriter writer;
  RunConfig copy = config;
  describe(writer.visitor(), copy);
  return writer.yaml();
}

std::string run_reference() {
  RunConfig defaults;
  return option_reference([&](OptionVisitor& v) { describe(v, defaults); });
}

}  // namespace plumbline
