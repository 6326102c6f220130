#include "eval/linear_probe.h"

#include <cmath>
#include <cstring>
#include <map>
#include <numbers>

#include "core/philox.h"
#include "dist/agree.h"
#include "eval/features.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr int kEpochs = 10;
constexpr std::int64_t kBatch = 64;
constexpr double kLearningRate = 0.1;
constexpr int kWeightDecays = 97;
constexpr std::uint64_t kSeed = 0;

/// The order of an epoch.
at::Tensor shuffle(std::int64_t n, std::uint64_t epoch) {
  const std::uint64_t key = derive(kSeed, Purpose::permutation, epoch);
  const at::Tensor order = torch::empty({n}, torch::kLong);
  auto* const places = order.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < n; ++i) {
    places[i] = static_cast<std::int64_t>(
        permute(key, static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(i)));
  }
  return order;
}

at::Tensor logits_of(const LinearProbe& probe, const at::Tensor& features_ND) {
  return torch::addmm(probe.bias_C, features_ND, probe.weight_CD.t());
}

Score best_classes(const at::Tensor& logits_C) {
  const at::Tensor row = logits_C.contiguous();
  const auto classes = static_cast<std::size_t>(row.size(0));
  return rank_classes({row.data_ptr<float>(), classes}, {}, row.size(0));
}

ProbeData join(const ProbeData& a, const ProbeData& b) {
  return {torch::cat({a.features_ND, b.features_ND}), torch::cat({a.targets_N, b.targets_N})};
}

/// Collective.
ProbeData gather_data(const EvalSet& set, const LabelledImages& images, const std::string& what,
                      EvalContext& context) {
  const int border = set.options.layout == "objectnet" ? set.options.border_px : 0;
  const ImageList list{set.options.name + " " + what, images.items, border, set.options.normalise};
  const AllFeatures all = gather_image_features(list, context);
  const at::Tensor targets = torch::empty({std::ssize(all.decoded)}, torch::kLong);
  for (std::size_t i = 0; i < all.decoded.size(); ++i) {
    targets.data_ptr<std::int64_t>()[i] = images.targets[static_cast<std::size_t>(all.decoded[i])];
  }
  return {all.features_ND, targets};
}

/// Scores of all images of the set, in its order.
std::vector<Score> score_rows(const LinearProbe& probe, const AllFeatures& test, std::int64_t n) {
  std::vector<Score> scores(static_cast<std::size_t>(n));
  const at::Tensor logits_NC = logits_of(probe, test.features_ND);
  for (std::size_t i = 0; i < test.decoded.size(); ++i) {
    scores[static_cast<std::size_t>(test.decoded[i])] =
        best_classes(logits_NC[static_cast<std::int64_t>(i)]);
  }
  return scores;
}

}  // namespace

LinearProbe fit_probe(const ProbeData& data, std::int64_t classes, double weight_decay) {
  const torch::AutoGradMode with_gradients(true);
  const std::int64_t n = data.features_ND.size(0);
  require(n > 0, "a probe learns from at least one image");
  LinearProbe probe{torch::zeros({classes, data.features_ND.size(1)}), torch::zeros({classes})};
  probe.weight_CD.requires_grad_(true);
  probe.bias_C.requires_grad_(true);
  torch::optim::AdamW optimizer(
      std::vector<at::Tensor>{probe.weight_CD, probe.bias_C},
      torch::optim::AdamWOptions(kLearningRate).weight_decay(weight_decay));
  auto& options = static_cast<torch::optim::AdamWOptions&>(optimizer.param_groups()[0].options());
  const std::int64_t steps = kEpochs * ((n + kBatch - 1) / kBatch);
  std::int64_t step = 0;
  for (std::uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const at::Tensor order = shuffle(n, epoch);
    for (std::int64_t from = 0; from < n; from += kBatch, ++step) {
      const double done = static_cast<double>(step) / static_cast<double>(steps);
      options.lr(0.5 * (1 + std::cos(std::numbers::pi * done)) * kLearningRate);
      const at::Tensor rows = order.narrow(0, from, std::min(kBatch, n - from));
      optimizer.zero_grad();
      const at::Tensor logits = logits_of(probe, data.features_ND.index_select(0, rows));
      torch::nn::functional::cross_entropy(logits, data.targets_N.index_select(0, rows)).backward();
      optimizer.step();
    }
  }
  return {probe.weight_CD.detach(), probe.bias_C.detach()};
}

double probe_accuracy(const LinearProbe& probe, const ProbeData& data) {
  const at::Tensor logits_NC = logits_of(probe, data.features_ND);
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < logits_NC.size(0); ++i) {
    right += best_classes(logits_NC[i]).ranked[0] == data.targets_N[i].item<std::int64_t>() ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(logits_NC.size(0));
}

double weight_decay_at(int i) { return std::pow(10.0, -6.0 + static_cast<double>(i) / 12.0); }

int find_peak(const std::function<double(int)>& value) {
  std::map<int, double> known;
  const auto best_of = [&](const std::vector<int>& places) {
    int best = places[0];
    for (const int place : places) {
      if (!known.contains(place)) known.emplace(place, value(place));
      if (known.at(place) > known.at(best)) best = place;
    }
    return best;
  };
  int peak = best_of({0, 16, 32, 48, 64, 80, 96});
  for (const int span : {8, 4, 2, 1}) {
    peak = best_of({std::max(peak - span, 0), peak, std::min(peak + span, kWeightDecays - 1)});
  }
  return peak;
}

SetResult score_linear_probe(const EvalSet& set, EvalContext& context) {
  const ProbeData train = gather_data(set, set.train, "(train)", context);
  const bool sweep = !set.validation.items.empty();
  ProbeData validation;
  if (sweep) validation = gather_data(set, set.validation, "(validation)", context);
  const int border = set.options.layout == "objectnet" ? set.options.border_px : 0;
  const AllFeatures test =
      gather_image_features({set.options.name, set.items, border, set.options.normalise}, context);
  const auto classes = std::ssize(set.class_names);
  std::string bytes;
  double weight_decay = 0;
  agree(context.host, [&] {
    if (context.host.rank() != 0) return;
    if (sweep) {
      weight_decay = weight_decay_at(find_peak([&](int i) {
        return probe_accuracy(fit_probe(train, classes, weight_decay_at(i)), validation);
      }));
    }
    const LinearProbe probe =
        fit_probe(sweep ? join(train, validation) : train, classes, weight_decay);
    const std::vector<Score> scores = score_rows(probe, test, set.size());
    bytes.assign(reinterpret_cast<const char*>(scores.data()), scores.size() * sizeof(Score));
  });
  bytes = context.host.broadcast_bytes(bytes, 0);
  std::vector<Score> scores(bytes.size() / sizeof(Score));
  std::memcpy(scores.data(), bytes.data(), bytes.size());
  SetResult result = measure(set, scores);
  result.probe = ProbeResult{train.targets_N.size(0), sweep ? validation.targets_N.size(0) : 0,
                             context.host.all_reduce(weight_decay, Reduce::max)};
  return result;
}

}  // namespace plumbline
