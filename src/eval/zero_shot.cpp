#include "eval/zero_shot.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/file.h"
#include "dist/agree.h"
#include "eval/classifier_cache.h"
#include "eval/eval_mode.h"
#include "plumbline/error.h"
#include "plumbline/version.h"

namespace plumbline {
namespace {

/// int32 [texts, context_length] on the CPU.
at::Tensor tokenize(std::span<const std::string> texts, const Tokenizer& tokenizer) {
  const std::int64_t length = tokenizer.context_length();
  const at::Tensor tokens_BL = torch::empty({std::ssize(texts), length}, torch::kInt);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    auto* const row = tokens_BL.data_ptr<std::int32_t>() + static_cast<std::int64_t>(i) * length;
    try {
      (void)tokenizer.encode(texts[i], {row, static_cast<std::size_t>(length)});
    } catch (const std::invalid_argument& e) {
      throw DataError(str("the text '", texts[i], "': ", e.what()));
    }
  }
  return tokens_BL;
}

/// Unit rows of up to a batch of texts, on the device.
at::Tensor encode_texts(std::span<const std::string> texts, EvalContext& context) {
  const at::Tensor tokens_BL = tokenize(texts, context.tokenizer);
  return context.model.encode_text(tokens_BL.to(context.device), /*normalize=*/true)
      .to(torch::kFloat);
}

/// Program, configuration, and name, shape and SHA-256 of every tensor but those of the image tower
/// and the scale.
std::string describe_text_model(EvalContext& context) {
  const ModelOptions& options = context.model.options();
  std::string text =
      str("rows 1 ", version_string(), " ", version_commit(), "\n", context.device.str(), " ",
          context.batch, " ", context.model.pass.pack_text, " ", options.embed_dim, "\n",
          options.source_json, "\n");
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    if (name.starts_with("visual.") || name.starts_with("logit_")) return;
    const at::Tensor values = tensor.detach().cpu().contiguous();
    const auto* bytes = static_cast<const char*>(values.const_data_ptr());
    text += str(name, " ", toString(values.scalar_type()));
    for (const std::int64_t size : values.sizes()) text += str(" ", size);
    text += str(" ", sha256_hex({bytes, values.nbytes()}), "\n");
  };
  for (const auto& item : context.model.named_parameters()) add(item.key(), item.value());
  for (const auto& item : context.model.named_buffers()) add(item.key(), item.value());
  return text;
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

/// Rows of all classes, one after the other, as bytes. Collective.
std::string Classifiers::encode_all(const std::vector<Prompts>& classes) {
  Communicator& host = context_.host;
  const std::vector<std::size_t> borders = group_classes(classes, context_.batch);
  const std::size_t groups = borders.size() - 1;
  const auto world = static_cast<std::size_t>(host.size());
  std::string mine;
  agree(host, [&] {
    for (auto g = static_cast<std::size_t>(host.rank()); g < groups; g += world) {
      if (context_.stop && context_.stop()) {
        throw Error("evaluation was stopped by a signal", ExitCode::resumable);
      }
      const at::Tensor rows =
          encode_classes(classes, borders[g], borders[g + 1]).cpu().contiguous();
      mine.append(reinterpret_cast<const char*>(rows.data_ptr<float>()), rows.nbytes());
    }
  });
  const std::vector<std::string> parts = host.all_gather_bytes(mine);
  std::size_t total = 0;
  for (const std::string& bytes : parts) total += bytes.size();
  const std::size_t row_bytes = total / classes.size();
  std::vector<std::size_t> taken(world, 0);
  std::string all;
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t bytes = (borders[g + 1] - borders[g]) * row_bytes;
    all.append(parts[g % world], taken[g % world], bytes);
    taken[g % world] += bytes;
  }
  return all;
}

/// What the rows are a function of: texts as the model sees them, its text tower, and the program.
/// Batch and device decide the rounding.
std::string Classifiers::content_key(const std::vector<Prompts>& classes) {
  if (model_key_.empty()) model_key_ = describe_text_model(context_);
  std::string tokens = str(classes.size(), "\n");
  for (const Prompts& texts : classes) {
    const at::Tensor ids_TL = tokenize(texts, context_.tokenizer);
    tokens += str(texts.size(), "x", ids_TL.size(1), "\n");
    tokens.append(reinterpret_cast<const char*>(ids_TL.data_ptr<std::int32_t>()), ids_TL.nbytes());
  }
  return sha256_hex(model_key_ + sha256_hex(tokens));
}

/// The rows, or nothing. Only rank 0 looks; all learn it. Collective.
std::string Classifiers::find_cached(const std::vector<Prompts>& classes) {
  if (context_.classifier_cache.empty()) return "";
  std::string rows;
  agree(context_.host, [&] {
    if (context_.host.rank() != 0) return;
    key_ = content_key(classes);
    rows = ClassifierCache(context_.classifier_cache).find(key_).value_or("");
    const auto dim = static_cast<std::size_t>(context_.model.options().embed_dim);
    if (rows.size() != classes.size() * dim * sizeof(float)) rows.clear();
  });
  return context_.host.broadcast_bytes(rows, 0);
}

/// A full disk or a folder of others costs the next evaluation time, not this one its numbers.
void Classifiers::keep_cached(const std::string& rows) {
  if (context_.classifier_cache.empty() || context_.host.rank() != 0) return;
  try {
    ClassifierCache(context_.classifier_cache).keep(key_, rows);
  } catch (const Error& e) {
    if (context_.warn) context_.warn(str("the classifier is not kept for next time: ", e.what()));
  }
}

void Classifiers::add_missing(const std::vector<Prompts>& missing) {
  std::string all = find_cached(missing);
  if (all.empty()) {
    all = encode_all(missing);
    keep_cached(all);
  }
  const std::size_t row_bytes = all.size() / missing.size();
  for (std::size_t c = 0; c < missing.size(); ++c) {
    const at::Tensor row =
        torch::empty({static_cast<std::int64_t>(row_bytes / sizeof(float))}, torch::kFloat);
    std::memcpy(row.data_ptr<float>(), all.data() + c * row_bytes, row_bytes);
    rows_.emplace(missing[c], row);
  }
}

at::Tensor Classifiers::weights(const std::vector<Prompts>& prompts) {
  std::vector<Prompts> missing;
  std::set<Prompts> seen;
  for (const Prompts& texts : prompts) {
    require(!texts.empty(), "every class has at least one prompt");
    if (!rows_.contains(texts) && seen.insert(texts).second) missing.push_back(texts);
  }
  if (!missing.empty()) add_missing(missing);
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
