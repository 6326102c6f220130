// A linear classifier on frozen image features.
#pragma once

#include "plumbline/eval.h"

namespace plumbline {

/// Rows and their classes, on the CPU.
struct ProbeData {
  at::Tensor features_ND;  ///< float32
  at::Tensor targets_N;    ///< int64
};

struct LinearProbe {
  at::Tensor weight_CD, bias_C;  ///< float32
};

/// Softmax regression by AdamW (betas 0.9, 0.999, eps 1e-8), from zero: 10 epochs in batches of 64,
/// each epoch a permutation of its own, learning rate 0.1 falling to 0 along a cosine. A function
/// of its arguments; draws no random numbers.
[[nodiscard]] LinearProbe fit_probe(const ProbeData& data, std::int64_t classes,
                                    double weight_decay);

/// Share of rows whose largest logit (ties to the lower class) is the target's.
[[nodiscard]] double probe_accuracy(const LinearProbe& probe, const ProbeData& data);

/// Place i of 97 weight decays, 10^(-6 + i/12).
[[nodiscard]] double weight_decay_at(int i);

/// The place with the best value among few looks: every 16th, then, around the best so far, those
/// 8, 4, 2, 1 to the left and right. Of equal ones the first met, from left to right. `value` is
/// asked at most once for a place.
[[nodiscard]] int find_peak(const std::function<double(int)>& value);

/// Fits on set.train (with set.validation: weight decay chosen there, then fitted on both), scores
/// the set. One rank fits; features are shared. Collective; all ranks return the same.
[[nodiscard]] SetResult score_linear_probe(const EvalSet& set, EvalContext& context);

}  // namespace plumbline
