// Images with any number of classes: labels as multi-hot vectors, scored by average precision.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plumbline/eval_suite.h"

namespace plumbline {

/// Classes of the non-zero values of a vector in numpy's format (NPY 1.0 to 3.0, one dimension of
/// bool, integers or floats, little-endian), as .npy members of CLIP_benchmark's shards. Throws
/// DataError that begins with `where` for anything else, or another length than `classes`.
[[nodiscard]] std::vector<std::int32_t> read_multi_hot(std::string_view npy, std::int64_t classes,
                                                       const std::string& where);

/// Average precision of one class: images sorted by falling score (of equal ones the earlier
/// first), the precision at the place of each positive, summed, over max(positives, 1). As
/// CLIP_benchmark; 0 for a class without positives.
///   scores    of the images
///   positive  1 where the image has the class
[[nodiscard]] double average_precision(std::span<const float> scores,
                                       std::span<const std::uint8_t> positive);

/// Average precision of every class and its mean over all classes.
///   scores_NC     image-major, of the images that were decoded
///   positives_N   classes of each of them
[[nodiscard]] MultilabelResult measure_multilabel(
    std::vector<float> scores_NC, const std::vector<std::vector<std::int32_t>>& positives_N,
    std::int64_t classes);

}  // namespace plumbline
