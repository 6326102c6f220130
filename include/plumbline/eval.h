// Evaluation of a model on all ranks: zero-shot classification, and features for other uses.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>
#include <vector>

#include "plumbline/communicator.h"
#include "plumbline/eval_suite.h"
#include "plumbline/model.h"
#include "plumbline/tokenizer.h"

namespace plumbline {

/// What an evaluation works with. It draws no random numbers, changes no parameter and no buffer,
/// and leaves every module in the mode (train or eval) in which it found it.
struct EvalContext {
  ClipModel& model;
  const Tokenizer& tokenizer;
  PreprocessOptions preprocess;
  Communicator& host;
  at::Device device = at::kCPU;
  int threads = 0;          ///< decode threads of this rank; 0 = the cores it may use
  int batch = 128;          ///< images (or texts) a forward pass
  std::string assets = "";  ///< folder of class names and templates; empty: find_asset's places
  /// Called after each batch with this rank's counts. Empty: silent.
  std::function<void(const std::string& set, std::int64_t done, std::int64_t total)> progress = {};
  /// Asked before each batch; when any rank says true, all throw Error with ExitCode::resumable.
  std::function<bool()> stop = {};
  /// Folder of classifier rows kept between evaluations (classifier_cache.h); empty: none are.
  std::string classifier_cache = "";
  /// Told what went wrong beside the work itself. Empty: silent.
  std::function<void(const std::string& line)> warn = {};
};

/// Zero-shot classifier of Radford et al. 2021 (arXiv:2103.00020, section 3.1.4): row c is
/// normalise(mean over the prompts of c of normalise(encode_text)).
///   prompts  of each class, at least one
/// Returns [classes, embed_dim] float32 unit rows on context.device. Collective: the ranks share
/// the texts. The numbers do not depend on their number.
[[nodiscard]] at::Tensor zero_shot_weights(const std::vector<std::vector<std::string>>& prompts,
                                           EvalContext& context);

/// Scores every image of every set once, at any number of ranks: logits = 100 cos(image, class) in
/// float32, or a classifier's own of the classes of that name; ties to the lower class. Collective
/// over context.host; all ranks return the same results (seconds: of the slowest rank). Fills
/// `sets` and `kind`. An undecodable image is counted in `skipped`; more than one and more than 0.1
/// % of a set is an error (ExitCode::bad_data). Errors are thrown on all ranks together
/// (AgreedError); rank 0 alone lists the sets.
[[nodiscard]] EvalResults evaluate(const EvalSuite& suite, EvalContext& context);

/// Unit-norm float32 features on the CPU, in the order of the list. Collective: the ranks share the
/// images and all return the same, whatever their number.
struct ImageFeatures {
  at::Tensor features_ND;            ///< of the images that could be decoded
  std::vector<std::string> keys;     ///< of the rows
  std::vector<std::string> refused;  ///< "KEY: why" of the others
};
[[nodiscard]] ImageFeatures embed_images(const std::vector<ImageRef>& images, EvalContext& context);
/// [texts, embed_dim], unit-norm float32, on the CPU, of this rank alone (not collective). Throws
/// DataError naming a text (from 1) that is not UTF-8.
[[nodiscard]] at::Tensor embed_texts(const std::vector<std::string>& texts, EvalContext& context);

}  // namespace plumbline
