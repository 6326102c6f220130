// The `data:` section of a run file.
#include <algorithm>
#include <cmath>
#include <set>

#include "train/run_config.h"

namespace plumbline {
namespace {

constexpr double kMany = 1e15;

void describe(OptionVisitor& v, CaptionOptions& captions) {
  v.value("keys", captions.keys, "member suffixes or `json:FIELD`, first non-empty wins");
  v.value("probs", captions.probs, "draw among the keys with these weights instead");
  v.value("join", captions.join, "all non-empty values, joined by one space");
  v.choice("lines", captions.lines, {"whole", "first", "sample"}, "a value of several lines");
  v.value("clean", captions.clean,
          "steps in order: url_decode, strip_html, strip_urls, collapse_space");
  v.value("none", captions.none, "the source has no captions");
  const std::set<std::string> steps = {"url_decode", "strip_html", "strip_urls", "collapse_space"};
  for (const std::string& step : captions.clean) {
    v.check(steps.contains(step), "clean", "has the unknown step '" + step + "'");
  }
  v.check(captions.probs.size() <= captions.keys.size(), "probs", "is longer than keys");
}

void describe(OptionVisitor& v, SourceOptions& source) {
  v.text("name", source.name, "required; unique");
  v.paths("shards", source.shards, "tar files: braces `{000..041}`, `*`, `@FILE`, `a::b`");
  v.value("weight", source.weight, {0, kMany}, "see data.weights");
  v.section("captions", "which text of a sample is its caption; `captions: none` for none",
            [&](OptionVisitor& c) { describe(c, source.captions); });
  v.section("label", "which class a sample belongs to, for the loss cross_entropy",
            [&](OptionVisitor& l) {
              l.text("key", source.label.key,
                     "member suffix, such as cls, or `json:FIELD`: a number or a name; one is "
                     "drawn of several");
              l.path("names", source.label.names, "file, line i = name of class i; null = numbers");
            });
  v.value("image_keys", source.image_keys, "member suffixes of the image, first present wins");
  v.choice("missing", source.missing, {"error", "skip"}, "a shard that is not there");
  v.path("manifest", source.manifest, "CSV, TSV or JSONL of image files, instead of shards");
  v.path("root", source.root, "folder that its image paths are relative to");
  v.section("columns", "of the manifest", [&](OptionVisitor& c) {
    c.text("image", source.columns.image, "path of the image");
    c.text("key", source.columns.key, "empty = the path");
    c.value("captions", source.columns.captions, "empty = captions.keys");
    c.value("header", source.columns.header, "names of a table without a header line");
    c.value("raw", source.columns.raw, "quotes are ordinary characters");
  });
  v.section("synthetic", "generated pictures instead of shards", [&](OptionVisitor& s) {
    s.choice("kind", source.synthetic, {"", "pixels", "jpeg"}, "");
    s.value("samples", source.synthetic_samples, {0, kMany}, "");
    s.value("classes", source.synthetic_classes, {1, 4096}, "");
    s.value("size", source.synthetic_size, {8, 8192}, "pixels a side");
    s.value("quality", source.synthetic_quality, {1, 100}, "JPEG quality");
  });
  v.check(!source.name.empty(), "name", "is required");
  v.check(source.weight > 0, "weight", "must be positive");
  v.check(!source.shards.empty() || !source.manifest.empty() || !source.synthetic.empty(), "shards",
          "is required (or manifest, or synthetic)");
  v.check(source.synthetic.empty() || source.synthetic_samples > 0, "synthetic",
          "needs samples > 0");
}

void describe(OptionVisitor& v, TrainTransformOptions& transform) {
  v.value("scale", transform.scale, "share of the area that a crop keeps");
  v.value("ratio", transform.ratio, "aspect of a crop; 1.3333 means exactly 4/3");
  v.choice("mode", transform.mode, {"crop", "eval", "simclr"}, "eval has no randomness");
  v.value("views", transform.views, {1, 2}, "independently augmented images of a sample");
  v.value("flip", transform.flip, {0, 1}, "probability of a left-right flip; crop mode");
  v.value("color_jitter", transform.color_jitter,
          "spread of brightness, contrast, saturation, hue; crop mode");
  v.value("color_jitter_prob", transform.color_jitter_prob, {0, 1}, "probability of the jitter");
  v.value("gray_scale_prob", transform.gray_scale_prob, {0, 1}, "probability of grey; crop mode");
  const std::vector<double>& jitter = transform.color_jitter;
  v.check(jitter.empty() || jitter.size() == 4, "color_jitter", "needs four spreads, or none");
  v.check(std::ranges::all_of(jitter, [](double x) { return x >= 0 && x <= 10; }), "color_jitter",
          "needs spreads from 0 to 10");
  v.check(jitter.size() != 4 || jitter[3] <= 0.5, "color_jitter", "needs a hue spread <= 0.5");
  v.check(transform.color_jitter_prob == 0 || !jitter.empty(), "color_jitter_prob",
          "needs color_jitter");
  v.check(
      transform.scale[0] > 0 && transform.scale[0] <= transform.scale[1] && transform.scale[1] <= 1,
      "scale", "needs 0 < lo <= hi <= 1");
  v.check(transform.ratio[0] > 0 && transform.ratio[0] <= transform.ratio[1], "ratio",
          "needs 0 < lo <= hi");
  if (std::abs(transform.ratio[1] - 4.0 / 3) < 1e-4) transform.ratio[1] = 4.0 / 3;
}

}  // namespace

void describe_source(OptionVisitor& v, SourceOptions& source) { describe(v, source); }

void describe(OptionVisitor& v, DataOptions& data) {
  v.list(
      "sources", data.sources.size(), "required: where pairs come from",
      [&](std::size_t n) { data.sources.resize(n); },
      [&](OptionVisitor& s, std::size_t i) { describe(s, data.sources[i]); });
  v.check(!data.sources.empty(), "sources", "is required: at least one source");
  std::set<std::string> names;
  for (const SourceOptions& source : data.sources) {
    v.check(names.insert(source.name).second, "sources", "names '" + source.name + "' twice");
  }
  v.choice("sampling", data.sampling, {"permute", "replace"}, "without or with replacement");
  v.choice("weights", data.weights, {"proportion", "factor", "repeat"}, "what a weight means");
  v.value("allow_repeats", data.allow_repeats, "a source smaller than its share may repeat");
  v.section("train_transform", "", [&](OptionVisitor& t) { describe(t, data.train_transform); });
  v.value("threads", data.threads, {0, 1024}, "decoding threads a rank; 0 = auto");
  v.value("memory_mb", data.memory_mb, {16, 1e7}, "hard bound of the loader");
  v.value("allow_pipe", data.allow_pipe, "shards may be `pipe:` commands");
  v.section("pipe", "how commands are read", [&](OptionVisitor& p) {
    p.value("timeout_s", data.pipe.timeout_s, {0.1, 1e6}, "no byte for so long: tried again");
    p.value("tries", data.pipe.tries, {1, 1000}, "without progress, before a shard is given up");
    p.value("wait_s", data.pipe.wait_s, {0, 60}, "before the second try; doubles up to 60 s");
  });
  v.section("cache", "whole `pipe:` shards kept on this host", [&](OptionVisitor& c) {
    c.path("dir", data.cache.dir, "null = none");
    c.value("gb", data.cache.gb, {0, 1e9}, "1e9 bytes; the least recently opened shards go");
  });
  v.section("errors", "budget of bad samples", [&](OptionVisitor& e) {
    e.value("max_rate", data.errors.max_rate, {0, 1}, "share of the last 100,000 samples");
    e.value("max_consecutive", data.errors.max_consecutive, {1, kMany}, "");
  });
  v.value("lanes", data.lanes, {0, 1e6}, "0 = largest divisor of the global batch up to 512");
  v.value("vshard", data.vshard, {1, 1e6}, "samples read together");
  v.path("index_dir", data.index_dir, "null = beside the shards");
  v.section("limits", "", [&](OptionVisitor& l) {
    l.value("max_image_pixels", data.limits.max_pixels, {1, 1e10}, "larger images are `too_large`");
  });
  std::string order = data.resize_order == ResizeOrder::horizontal ? "horizontal" : "pillow13";
  v.choice("resize_order", order, {"pillow13", "horizontal"}, "pass order of a resize");
  data.resize_order = order == "horizontal" ? ResizeOrder::horizontal : ResizeOrder::pillow13;
}

}  // namespace plumbline
