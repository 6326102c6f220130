// Which pictures of a set are shown with their predictions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plumbline/report.h"
#include "report/run.h"

namespace plumbline {

struct Example {
  std::string key;
  std::int32_t target = 0;
  std::vector<std::int32_t> predictions;  ///< best first
  /// Place of the target among the predictions, from 1; predictions.size() + 1 when absent.
  std::size_t rank = 0;
  std::string bytes;    ///< the encoded picture
  std::string cluster;  ///< images that are not independent share it; empty: the file names none
};

struct SetExamples {
  std::string set;
  std::vector<Example> right, wrong;  ///< wrong: the worst first
  std::string note;                   ///< why there are none
};

inline constexpr std::size_t kExamples = 5;             ///< of each kind and set
inline constexpr std::size_t kPictureBytes = 32 << 10;  ///< larger ones only when all are
inline constexpr std::size_t kPictureBytesMax = 256 << 10;

/// Candidates in the order of preference, the same for every call: spread over the classes, among
/// equals by a hash of the key. `right`: rank 1; else rank > 1, largest rank first.
[[nodiscard]] std::vector<Example> order_candidates(const std::vector<Example>& predictions,
                                                    bool right);

/// predictions/SET.csv. Throws DataError naming file and line.
[[nodiscard]] std::vector<Example> read_predictions(const std::string& path, std::int64_t classes);

/// Examples of every set of the evaluation. What cannot be read becomes a note.
[[nodiscard]] std::vector<SetExamples> pick_examples(const Evaluation& evaluation,
                                                     const PictureReader& read_pictures);

/// "image/webp", "image/png", "image/jpeg", "image/gif" by the first bytes; empty for others.
[[nodiscard]] std::string media_type(const std::string& bytes);

}  // namespace plumbline
