// `plumbline data score`: how well captions fit their images, by a model.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "cmd/data_tools.h"
#include "core/file.h"
#include "data/byte_source.h"
#include "dist/agree.h"
#include "ops/device.h"
#include "plumbline/eval.h"
#include "train/trained_model.h"

namespace plumbline {
namespace {

constexpr std::uint64_t kAtOnce = 1024;

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

/// Encoded images one behind the other in a temporary file, so that compressed and remote shards
/// are scored like others.
class ImageSpool {
 public:
  explicit ImageSpool(const std::string& folder) : file_(unnamed_file(folder)) {}
  void clear() {
    end_ = 0;
    if (::ftruncate(file_.get(), 0) != 0) throw Error("emptying a temporary file failed");
  }
  [[nodiscard]] ImageRef add(std::string key, std::span<const std::uint8_t> bytes) {
    const ImageRef ref{std::move(key), str("/proc/self/fd/", file_.get()), end_, std::ssize(bytes)};
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(file_.get(), bytes.data(), bytes.size(), end_);
      if (n < 0) throw Error(str("writing a temporary file: ", std::strerror(errno)));
      end_ += n;
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return ref;
  }

 private:
  FileDescriptor file_;
  std::int64_t end_ = 0;
};

/// The scores of samples [first, first + count) as CSV lines.
class Scorer {
 public:
  Scorer(const Source& source, EvalContext& context, const std::string& spool_folder)
      : source_(source), context_(context), spool_(spool_folder) {}

  std::string lines(std::uint64_t first, std::uint64_t count) {
    spool_.clear();
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
      images.push_back(spool_.add(std::to_string(captions.size()), sample.parts.image));
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
  ImageSpool spool_;
  std::vector<std::string> refused_;
};

/// What this command reads, before any rank computes.
struct Inputs {
  std::vector<std::unique_ptr<Source>> sources;
  TrainedModel trained;
  at::Device device = at::kCPU;
};

Inputs read_inputs(const ShardArguments& a, const std::string& checkpoint, int local_rank) {
  Inputs inputs;
  inputs.sources = open_input(a.input());
  inputs.trained = open_checkpoint(checkpoint);
  inputs.device = pick_device("auto", local_rank);
  inputs.trained.model->to(inputs.device);
  return inputs;
}

/// All of `parts` on every rank, in rank order. Collective.
std::string gather(Communicator& host, const std::string& part) {
  std::string all;
  for (const std::string& one : host.all_gather_bytes(part)) all += one;
  return all;
}

/// Pieces of samples go round the ranks; each scores its own alone.
ExitCode run_score(const ShardArguments& a, const std::string& checkpoint,
                   const CommandContext& command) {
  const auto host = make_host_communicator(command.mpi);
  Inputs inputs;
  agree(*host, [&] { inputs = read_inputs(a, checkpoint, host->local_rank()); });
  const auto alone = make_single_communicator();
  const TrainedModel& trained = inputs.trained;
  EvalContext context{*trained.model, *trained.tokenizer, trained.preprocess, *alone,
                      inputs.device};
  context.threads = a.threads;
  const bool root = host->rank() == 0;
  ProgressLine line("scoring");
  const Progress progress = line.callback();
  Scorer scorer(*inputs.sources[0], context, a.index_dir);
  std::string table = "key,score\n";
  const std::uint64_t n = inputs.sources[0]->size();
  const auto ranks = static_cast<std::uint64_t>(host->size());
  for (std::uint64_t round = 0; round < n; round += ranks * kAtOnce) {
    const std::uint64_t first =
        std::min(n, round + static_cast<std::uint64_t>(host->rank()) * kAtOnce);
    std::string lines;
    agree(*host, [&] {
      if (root) progress(static_cast<std::int64_t>(round), static_cast<std::int64_t>(n));
      if (first < n) lines = scorer.lines(first, std::min(kAtOnce, n - first));
    });
    table += gather(*host, lines);
  }
  std::string mine;
  for (const std::string& why : scorer.refused()) mine += why + "\n";
  std::istringstream all(gather(*host, mine));
  std::vector<std::string> refused;
  for (std::string why; std::getline(all, why);) refused.push_back(why);
  agree(*host, [&] {
    if (root) write_file_atomically(a.out, table);
  });
  if (root) {
    line.clear();
    const auto rows = std::ssize(refused);
    print({{"samples", n}, {"scored", static_cast<std::int64_t>(n) - rows}, {"refused", refused}},
          a.json);
  }
  return refused.empty() ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_score(CLI::App& group, CommandContext& context) {
  auto a = std::make_shared<ShardArguments>();
  auto checkpoint = std::make_shared<std::string>();
  CLI::App* c = add_tool(group, "score", "Cosine of image and caption by a model", *a);
  c->add_option("--checkpoint", *checkpoint, "Checkpoint or run folder")->required();
  c->add_option("--out", a->out, "CSV to write: key,score")->required();
  c->callback([a, checkpoint, &context] {
    context.action = [a, checkpoint, &context] { return run_score(*a, *checkpoint, context); };
  });
}

}  // namespace plumbline
