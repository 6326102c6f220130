// `plumbline data score`: how well captions fit their images, by a model.
#include <array>
#include <cstdio>
#include <fstream>

#include "cmd/data_tools.h"
#include "core/file.h"
#include "data/shard_list.h"
#include "ops/device.h"
#include "plumbline/eval.h"
#include "train/trained_model.h"

namespace plumbline {
namespace {

constexpr std::uint64_t kAtOnce = 4096;

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

/// Images are read in place.
void refuse_compressed(const ShardArguments& a) {
  for (const std::string& shard : list_shards(a.shards, "error", "shards")) {
    const FileBytes file(shard);
    std::array<std::uint8_t, 4> first{};
    if (is_compressed({first.data(), file.read_at(0, first)})) {
      throw UsageError(str("shard ", shard, " is compressed; data score reads plain tars"));
    }
  }
}

/// The scores of samples [first, first + count) as CSV lines.
class Scorer {
 public:
  Scorer(const Source& source, EvalContext& context) : source_(source), context_(context) {}

  std::string lines(std::uint64_t first, std::uint64_t count) {
    std::vector<SampleRef> refs;
    source_.find(first, count, refs);
    std::vector<ImageRef> images;
    std::vector<std::string> captions, keys;
    LoadedSample sample;
    for (std::size_t i = 0; i < refs.size(); ++i) {
      load_sample(source_, refs[i], sample);
      const auto caption = sample.bad ? std::variant<std::string, BadSample>(*sample.bad)
                                      : source_.caption(refs[i], sample.parts, 0, first + i);
      if (const auto* bad = std::get_if<BadSample>(&caption)) {
        refused_.push_back(str(sample.parts.key, ": ", bad->message));
        continue;
      }
      images.push_back(
          {std::to_string(captions.size()), source_.shard(refs[i]),
           static_cast<std::int64_t>(refs[i].record.offset) + refs[i].record.image_offset,
           refs[i].record.image_bytes});
      captions.push_back(std::get<std::string>(caption));
      keys.push_back(sample.parts.key);
    }
    if (captions.empty()) return "";
    return score(images, captions, keys);
  }

  [[nodiscard]] const std::vector<std::string>& refused() const { return refused_; }

 private:
  std::string score(const std::vector<ImageRef>& images, const std::vector<std::string>& captions,
                    const std::vector<std::string>& keys) {
    const ImageFeatures features = embed_images(images, context_);
    const at::Tensor texts = embed_texts(captions, context_);
    for (const std::string& why : features.refused) {
      const std::size_t colon = why.find(':');
      refused_.push_back(keys[std::stoul(why.substr(0, colon))] + why.substr(colon));
    }
    std::string lines;
    for (std::size_t r = 0; r < features.keys.size(); ++r) {
      const std::size_t i = std::stoul(features.keys[r]);
      const double cosine =
          (features.features_ND[static_cast<std::int64_t>(r)] * texts[static_cast<std::int64_t>(i)])
              .sum()
              .item<double>();
      std::array<char, 32> number{};
      std::snprintf(number.data(), number.size(), ",%.7f\n", cosine);
      lines += csv_cell(keys[i]) + number.data();
    }
    return lines;
  }

  const Source& source_;
  EvalContext& context_;
  std::vector<std::string> refused_;
};

ExitCode run_score(const ShardArguments& a, const std::string& checkpoint) {
  refuse_compressed(a);
  const auto sources = open_input(a.input());
  TrainedModel trained = open_checkpoint(checkpoint);
  const at::Device device = pick_device("auto", 0);
  trained.model->to(device);
  const auto alone = make_single_communicator();
  EvalContext context{*trained.model, *trained.tokenizer, trained.preprocess, *alone, device};
  context.threads = a.threads;
  ProgressLine line("scoring");
  const Progress progress = line.callback();
  Scorer scorer(*sources[0], context);
  std::string table = "key,score\n";
  const std::uint64_t n = sources[0]->size();
  for (std::uint64_t first = 0; first < n; first += kAtOnce) {
    progress(static_cast<std::int64_t>(first), static_cast<std::int64_t>(n));
    table += scorer.lines(first, std::min(kAtOnce, n - first));
  }
  line.clear();
  write_file_atomically(a.out, table);
  const auto rows = std::count(table.begin(), table.end(), '\n') - 1;
  print({{"samples", n}, {"scored", rows}, {"refused", scorer.refused()}}, a.json);
  return scorer.refused().empty() ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_score(CLI::App& group, CommandContext& context) {
  auto a = std::make_shared<ShardArguments>();
  auto checkpoint = std::make_shared<std::string>();
  CLI::App* c = add_tool(group, "score", "Cosine of image and caption by a model", *a);
  c->add_option("--checkpoint", *checkpoint, "Checkpoint or run folder")->required();
  c->add_option("--out", a->out, "CSV to write: key,score")->required();
  c->callback([a, checkpoint, &context] {
    context.action = [a, checkpoint] { return run_score(*a, *checkpoint); };
  });
}

}  // namespace plumbline
