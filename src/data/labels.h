// Which class a sample belongs to: what supervised training learns from.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "data/captions.h"
#include "plumbline/data.h"

namespace plumbline {

/// Immutable; read() may be called by many threads at once.
class LabelReader {
 public:
  /// Reads the file of names. Throws UsageError naming `source` for a file that is not there or
  /// names a class twice.
  LabelReader(const LabelOptions& options, const std::string& source);

  /// The class, in [0, classes); or no_label: nothing there, an unknown name, a number out of
  /// range. Of several (a list in JSON, numbers with spaces between them elsewhere), which must all
  /// be classes, one is drawn by (seed, g): the expected loss is that of a target that is uniform
  /// over them.
  [[nodiscard]] std::variant<std::int64_t, BadSample> read(const CaptionChooser::Members& members,
                                                           std::int64_t classes,
                                                           std::uint64_t seed = 0,
                                                           std::uint64_t g = 0) const;

 private:
  [[nodiscard]] std::variant<std::int64_t, BadSample> class_of(std::string_view label,
                                                               std::int64_t classes) const;
  [[nodiscard]] std::vector<std::string> labels_in(std::string_view content) const;

  std::string suffix_, field_;  ///< field_: of json
  std::map<std::string, std::int64_t, std::less<>> names_;
};

}  // namespace plumbline
