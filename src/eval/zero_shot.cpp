#include "eval/zero_shot.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "dist/agree.h"
#include "eval/eval_mode.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// Unit rows of up to a batch of texts, on the device.
at::Tensor encode_texts(std::span<const std::string> texts, EvalContext& context) {
  const std::int64_t length = context.tokenizer.context_length();
  const at::Tensor tokens_BL = torch::empty({std::ssize(texts), length}, torch::kInt);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    auto* const row = tokens_BL.data_ptr<std::int32_t>() + static_cast<std::int64_t>(i) * length;
    try {
      (void)context.tokenizer.encode(texts[i], {row, static_cast<std::size_t>(length)});
    } catch (const std::invalid_argument& e) {
      throw DataError(str("the text '", texts[i], "': ", e.what()));
    }
  }
  return context.model.encode_text(tokens_BL.to(context.device), /*normalize=*/true)
      .to(torch::kFloat);
}

/// Borders of groups of whole classes with about `batch` texts each: a function of the prompts
/// alone, so that every world size encodes the same groups.
std::vector<std::size_t> group_classes(const std::vector<std::vector<std::string>>& classes,
                                       std::int64_t batch) {
  std::vector<std::size_t> borders = {0};
  std::int64_t texts = 0;
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const std::int64_t more = std::ssize(classes[c]);
    if (texts > 0 && texts + more > batch) {
      borders.push_back(c);
      texts = 0;
    }
    texts += more;
  }
  borders.push_back(classes.size());
  return borders;
}

}  // namespace

at::Tensor Classifiers::encode_classes(const std::vector<Prompts>& classes, std::size_t first,
                                       std::size_t last) {
  std::vector<std::string> texts;
  for (std::size_t c = first; c < last; ++c) {
    texts.insert(texts.end(), classes[c].begin(), classes[c].end());
  }
  const at::Tensor features_TD = encode_texts(texts, context_);
  std::vector<at::Tensor> means;
  std::int64_t at = 0;
  for (std::size_t c = first; c < last; ++c) {
    means.push_back(features_TD.narrow(0, at, std::ssize(classes[c])).mean(0));
    at += std::ssize(classes[c]);
  }
  return torch::nn::functional::normalize(torch::stack(means));
}

void Classifiers::encode_missing(const std::vector<Prompts>& missing) {
  Communicator& host = context_.host;
  const std::vector<std::size_t> borders = group_classes(missing, context_.batch);
  const std::size_t groups = borders.size() - 1;
  const auto world = static_cast<std::size_t>(host.size());
  std::string mine;
  agree(host, [&] {
    for (auto g = static_cast<std::size_t>(host.rank()); g < groups; g += world) {
      if (context_.stop && context_.stop()) {
        throw Error("evaluation was stopped by a signal", ExitCode::resumable);
      }
      const at::Tensor rows =
          encode_classes(missing, borders[g], borders[g + 1]).cpu().contiguous();
      mine.append(reinterpret_cast<const char*>(rows.data_ptr<float>()), rows.nbytes());
    }
  });
  const std::vector<std::string> all = host.all_gather_bytes(mine);
  std::size_t total = 0;
  for (const std::string& bytes : all) total += bytes.size();
  const std::size_t row_bytes = total / missing.size();
  std::vector<std::size_t> taken(world, 0);
  for (std::size_t g = 0; g < groups; ++g) {
    for (std::size_t c = borders[g]; c < borders[g + 1]; ++c) {
      const at::Tensor row =
          torch::empty({static_cast<std::int64_t>(row_bytes / sizeof(float))}, torch::kFloat);
      std::memcpy(row.data_ptr<float>(), all[g % world].data() + taken[g % world], row_bytes);
      taken[g % world] += row_bytes;
      rows_.emplace(missing[c], row);
    }
  }
}

at::Tensor Classifiers::weights(const std::vector<Prompts>& prompts) {
  std::vector<Prompts> missing;
  std::set<Prompts> seen;
  for (const Prompts& texts : prompts) {
    require(!texts.empty(), "every class has at least one prompt");
    if (!rows_.contains(texts) && seen.insert(texts).second) missing.push_back(texts);
  }
  if (!missing.empty()) encode_missing(missing);
  std::vector<at::Tensor> rows;
  for (const Prompts& texts : prompts) rows.push_back(rows_.at(texts));
  return torch::stack(rows).to(context_.device);
}

at::Tensor zero_shot_weights(const std::vector<std::vector<std::string>>& prompts,
                             EvalContext& context) {
  const torch::NoGradGuard no_grad;
  const EvalMode mode(context.model);
  return Classifiers(context).weights(prompts);
}

at::Tensor embed_texts(const std::vector<std::string>& texts, EvalContext& context) {
  const torch::NoGradGuard no_grad;
  const EvalMode mode(context.model);
  std::vector<at::Tensor> parts;
  const auto batch = static_cast<std::size_t>(std::max(context.batch, 1));
  for (std::size_t i = 0; i < texts.size(); i += batch) {
    const std::size_t rows = std::min(batch, texts.size() - i);
    parts.push_back(encode_texts(std::span(texts).subspan(i, rows), context).cpu());
  }
  if (parts.empty()) throw DataError("there is no text to embed");
  return torch::cat(parts);
}

}  // namespace plumbline
