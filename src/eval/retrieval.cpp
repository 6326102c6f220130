#include "eval/retrieval.h"

#include <cmath>

#include "dist/agree.h"
#include "eval/features.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using Targets = std::vector<std::vector<std::int64_t>>;

constexpr std::int64_t kBlockRows = 256;

/// best_place of every query among the candidates. Blocks of queries go around the ranks, so that
/// the products are the same at every world size. Collective.
std::vector<std::int64_t> find_places(const at::Tensor& queries_QD, const at::Tensor& candidates_CD,
                                      const Targets& targets, EvalContext& context) {
  const std::int64_t queries = queries_QD.size(0);
  std::vector<std::int64_t> places(static_cast<std::size_t>(queries), 0);
  agree(context.host, [&] {
    const at::Tensor candidates_DC = candidates_CD.to(context.device).t();
    for (std::int64_t from = context.host.rank() * kBlockRows; from < queries;
         from += context.host.size() * kBlockRows) {
      const std::int64_t rows = std::min(kBlockRows, queries - from);
      const at::Tensor scores_BC =
          torch::matmul(queries_QD.narrow(0, from, rows).to(context.device), candidates_DC)
              .to(torch::kCPU)
              .contiguous();
      const auto columns = static_cast<std::size_t>(scores_BC.size(1));
      for (std::int64_t i = 0; i < rows; ++i) {
        const auto query = static_cast<std::size_t>(from + i);
        const float* row = scores_BC.data_ptr<float>() + static_cast<std::size_t>(i) * columns;
        places[query] = best_place({row, columns}, targets[query]);
      }
    }
  });
  context.host.all_reduce(std::span<std::int64_t>(places), Reduce::sum);
  return places;
}

}  // namespace

SetResult score_retrieval(const EvalSet& set, EvalContext& context) {
  const AllFeatures images = gather_image_features({set.options.name, set.items, 0}, context);
  SetResult result;
  result.options = set.options;
  result.n = std::ssize(images.decoded);
  result.skipped = set.size() - result.n;
  RetrievalResult& retrieval = result.retrieval.emplace();
  if (result.n == 0) return result;
  std::vector<std::string> texts;
  Targets image_of_text, texts_of_image;
  for (const std::int64_t place : images.decoded) {
    const std::int64_t row = std::ssize(texts_of_image);
    retrieval.image_keys.push_back(set.items[static_cast<std::size_t>(place)].key);
    texts_of_image.emplace_back();
    for (const std::string& caption : set.captions[static_cast<std::size_t>(place)]) {
      texts_of_image.back().push_back(std::ssize(texts));
      image_of_text.push_back({row});
      retrieval.image_of_text.push_back(row);
      texts.push_back(caption);
    }
  }
  const at::Tensor texts_TD = gather_text_features(texts, context);
  if (!torch::isfinite(texts_TD).all().item<bool>()) {
    throw AgreedError(
        str("evaluating ", set.options.name, ": the model's output for a caption is not finite"));
  }
  retrieval.image_place = find_places(texts_TD, images.features_ND, image_of_text, context);
  retrieval.text_place = find_places(images.features_ND, texts_TD, texts_of_image, context);
  measure_recall(retrieval);
  return result;
}

}  // namespace plumbline
