#include "eval/features.h"

#include <algorithm>
#include <cstring>
#include <sstream>

#include "dist/agree.h"
#include "eval/eval_mode.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

std::string bytes_of(const at::Tensor& rows) {
  const at::Tensor whole = rows.contiguous();
  return {static_cast<const char*>(whole.data_ptr()), whole.nbytes()};
}

/// Float rows from their bytes.
at::Tensor rows_of(const std::string& bytes, std::int64_t columns) {
  const auto row_bytes = columns * static_cast<std::int64_t>(sizeof(float));
  const at::Tensor rows = torch::empty({std::ssize(bytes) / row_bytes, columns}, torch::kFloat);
  std::memcpy(rows.data_ptr(), bytes.data(), bytes.size());
  return rows;
}

/// What one rank collects.
struct Collected {
  std::vector<at::Tensor> rows;
  std::vector<std::int64_t> decoded;
};

void collect(const ImageList& list, const ImageBatch& batch, const at::Tensor& features_BD,
             Collected& mine) {
  const at::Tensor features = features_BD.to(torch::kCPU).contiguous();
  for (std::int64_t i = 0; i < batch.rows; ++i) {
    if (!batch.refused[static_cast<std::size_t>(i)].empty()) continue;
    const std::int64_t place = batch.first + i;
    if (!torch::isfinite(features[i]).all().item<bool>()) {
      throw Error(str("evaluating ", list.name, ": the model's output for image '",
                      list.images[static_cast<std::size_t>(place)].key, "' is not finite"));
    }
    mine.rows.push_back(features[i].clone());
    mine.decoded.push_back(place);
  }
}

}  // namespace

std::string visit_features(
    const ImageList& list, EvalContext& context,
    const std::function<void(const ImageBatch& batch, const at::Tensor& features_BD)>& use) {
  const std::int64_t n = std::ssize(list.images), world = context.host.size();
  const std::int64_t rank = context.host.rank();
  const std::int64_t first = rank * n / world, last = (rank + 1) * n / world;
  const std::int64_t batch_rows = std::min<std::int64_t>(context.batch, n);
  ImageBatches batches(list.images, first, last, batch_rows, list.border_px, context);
  const std::int64_t largest_share = (n + world - 1) / world;
  const std::int64_t rounds = (largest_share + batch_rows - 1) / batch_rows;  // as on every rank
  std::string refused;
  std::int64_t done = 0;
  for (std::int64_t k = 0; k < rounds; ++k) {
    agree(context.host, [&] {
      if (context.stop && context.stop()) {
        throw Error(str("evaluation of ", list.name, " was stopped by a signal"),
                    ExitCode::resumable);
      }
      if (batches.done()) return;
      const ImageBatch batch = batches.next();
      for (std::size_t i = 0; i < batch.refused.size() && refused.empty(); ++i) {
        if (batch.refused[i].empty()) continue;
        const ImageRef& image = list.images[static_cast<std::size_t>(batch.first) + i];
        refused = str("'", image.key, "': ", batch.refused[i]);
      }
      use(batch, encode_batch(batch, context, list.normalise));
      done += batch.rows;
    });
    if (context.progress) context.progress(list.name, done, last - first);
  }
  return refused;
}

void check_skipped(const ImageList& list, std::int64_t skipped, const std::string& refused,
                   Communicator& host) {
  const std::vector<std::string> all = host.all_gather_bytes(refused);
  const std::int64_t n = std::ssize(list.images);
  if (skipped <= 1 || skipped * 1000 <= n) return;
  std::string first;
  for (const std::string& text : all) first = first.empty() ? text : first;
  throw AgreedError(str("evaluating ", list.name, ": ", skipped, " of ", n,
                        " images cannot be decoded (at most 0.1 % may), the first is ", first),
                    ExitCode::bad_data);
}

namespace {

/// What all ranks collected, by place in the list.
AllFeatures gather(const Collected& mine, EvalContext& context) {
  const std::int64_t columns = context.model.options().embed_dim;
  const auto rows = context.host.all_gather_bytes(
      mine.rows.empty() ? std::string() : bytes_of(torch::stack(mine.rows)));
  const auto places =
      context.host.all_gather_bytes({reinterpret_cast<const char*>(mine.decoded.data()),
                                     mine.decoded.size() * sizeof(std::int64_t)});
  AllFeatures all;
  std::vector<at::Tensor> parts;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    parts.push_back(rows_of(rows[r], columns));
    const std::size_t old = all.decoded.size();
    all.decoded.resize(old + places[r].size() / sizeof(std::int64_t));
    if (!places[r].empty()) {
      std::memcpy(all.decoded.data() + old, places[r].data(), places[r].size());
    }
  }
  all.features_ND = torch::cat(parts);
  return all;
}

/// The lines of every rank, in rank order; none holds a newline.
std::vector<std::string> gather_lines(const std::vector<std::string>& mine, Communicator& host) {
  std::string text;
  for (const std::string& line : mine) text += line + "\n";
  std::vector<std::string> all;
  for (const std::string& part : host.all_gather_bytes(text)) {
    std::istringstream lines(part);
    for (std::string line; std::getline(lines, line);) all.push_back(line);
  }
  return all;
}

}  // namespace

AllFeatures gather_image_features(const ImageList& list, EvalContext& context) {
  Collected mine;
  const std::string refused =
      visit_features(list, context, [&](const ImageBatch& batch, const at::Tensor& features_BD) {
        collect(list, batch, features_BD, mine);
      });
  AllFeatures all = gather(mine, context);
  check_skipped(list, std::ssize(list.images) - std::ssize(all.decoded), refused, context.host);
  return all;
}

ImageFeatures embed_images(const std::vector<ImageRef>& images, EvalContext& context) {
  const torch::NoGradGuard no_grad;
  const EvalMode mode(context.model);
  if (images.empty()) throw DataError("there is no image to embed");
  const ImageList list{"images", images, 0};
  Collected mine;
  std::vector<std::string> refused;
  (void)visit_features(list, context, [&](const ImageBatch& batch, const at::Tensor& features_BD) {
    collect(list, batch, features_BD, mine);
    for (std::size_t i = 0; i < batch.refused.size(); ++i) {
      if (batch.refused[i].empty()) continue;
      std::string line = images[static_cast<std::size_t>(batch.first) + i].key;
      line += ": " + batch.refused[i];
      std::replace(line.begin(), line.end(), '\n', ' ');
      refused.push_back(line);
    }
  });
  const AllFeatures all = gather(mine, context);
  ImageFeatures result;
  result.features_ND = all.features_ND;
  for (const std::int64_t place : all.decoded) {
    result.keys.push_back(images[static_cast<std::size_t>(place)].key);
  }
  result.refused = gather_lines(refused, context.host);
  return result;
}

at::Tensor gather_text_features(const std::vector<std::string>& texts, EvalContext& context) {
  // Whole blocks go around the ranks, so that every world size encodes the same ones.
  const auto block = static_cast<std::size_t>(std::max(context.batch, 1));
  const auto world = static_cast<std::size_t>(context.host.size());
  std::string mine;
  agree(context.host, [&] {
    for (std::size_t from = static_cast<std::size_t>(context.host.rank()) * block;
         from < texts.size(); from += world * block) {
      if (context.stop && context.stop()) {
        throw Error("evaluation was stopped by a signal", ExitCode::resumable);
      }
      const std::size_t to = std::min(from + block, texts.size());
      const std::vector<std::string> some(texts.begin() + static_cast<std::ptrdiff_t>(from),
                                          texts.begin() + static_cast<std::ptrdiff_t>(to));
      mine += bytes_of(embed_texts(some, context));
    }
  });
  const std::vector<std::string> all = context.host.all_gather_bytes(mine);
  std::vector<at::Tensor> of_rank;
  for (const std::string& bytes : all) {
    of_rank.push_back(rows_of(bytes, context.model.options().embed_dim));
  }
  std::vector<std::int64_t> taken(world, 0);
  std::vector<at::Tensor> blocks;
  for (std::size_t from = 0; from < texts.size(); from += block) {
    const std::size_t r = from / block % world;
    const auto rows = static_cast<std::int64_t>(std::min(block, texts.size() - from));
    blocks.push_back(of_rank[r].narrow(0, taken[r], rows));
    taken[r] += rows;
  }
  return torch::cat(blocks);
}

}  // namespace plumbline
