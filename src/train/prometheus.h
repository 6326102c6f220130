// The newest metrics for a monitoring system: the text format that node_exporter's textfile
// collector reads (prometheus/docs, exposition formats).
#pragma once

#include <functional>
#include <string>

#include "train/metrics.h"

namespace plumbline {

/// One gauge a key of `metrics`, `plumbline_KEY{run="..."}`; keys that are null are left out.
[[nodiscard]] std::string prometheus_text(const StepMetrics& metrics, const std::string& run,
                                          double now);

class PrometheusFile {
 public:
  using Warn = std::function<void(const std::string&)>;
  /// Nothing is written yet. `warn` hears of the first failure in a row.
  PrometheusFile(std::string path, std::string run, Warn warn);
  /// Replaces the file; readers see the old one or the new one. Never throws: a run does not end
  /// because it cannot be watched.
  void write(const StepMetrics& metrics);

 private:
  std::string path_, run_;
  Warn warn_;
  bool failed_ = false;
};

}  // namespace plumbline
