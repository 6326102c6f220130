// Features of a set's images over the ranks: rank r of W encodes images [rN/W, (r+1)N/W).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "eval/image_batches.h"

namespace plumbline {

/// A list of images, for one rank or for all.
struct ImageList {
  std::string name;  ///< of the set, for messages and progress
  const std::vector<ImageRef>& images;
  int border_px = 0;
  bool normalise = true;  ///< unit rows
};

/// Hands this rank's images in batches to `use`, with their features [rows, embed_dim] (float32, on
/// the context's device). Returns the first image of the share that could not be decoded, and why
/// ("": none). Collective; what `use` throws is thrown on all ranks. It must not be collective.
std::string visit_features(
    const ImageList& list, EvalContext& context,
    const std::function<void(const ImageBatch& batch, const at::Tensor& features_BD)>& use);

/// Throws AgreedError (ExitCode::bad_data) when more than one image and more than 0.1 % of all were
/// skipped. Collective; `refused` is what visit_features returned on this rank.
void check_skipped(const ImageList& list, std::int64_t skipped, const std::string& refused,
                   Communicator& host);

/// On every rank, on the CPU.
struct AllFeatures {
  at::Tensor features_ND;             ///< float32, of the images that could be decoded
  std::vector<std::int64_t> decoded;  ///< their places in the list, ascending
};
/// Collective. Throws as check_skipped, and for features that are not finite.
[[nodiscard]] AllFeatures gather_image_features(const ImageList& list, EvalContext& context);

/// [texts, embed_dim] unit rows, float32, on every rank, on the CPU. The numbers do not depend on
/// the number of ranks. Collective.
[[nodiscard]] at::Tensor gather_text_features(const std::vector<std::string>& texts,
                                              EvalContext& context);

}  // namespace plumbline
