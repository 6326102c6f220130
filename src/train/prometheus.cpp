#include "train/prometheus.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <utility>

#include "plumbline/error.h"

namespace plumbline {
namespace {

struct Gauge {
  const char* key;
  const char* help;
  double value;
  bool known = true;
};

/// The value of a label: backslash, quote and line end escaped.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return out;
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::ostringstream text;
  text << std::setprecision(17) << value;
  return text.str();
}

}  // namespace

std::string prometheus_text(const StepMetrics& m, const std::string& run, double now) {
  const Gauge gauges[] = {
      {"step", "optimizer steps done", static_cast<double>(m.step)},
      {"samples", "pairs seen over all ranks", static_cast<double>(m.samples)},
      {"epoch", "samples over the pairs of an epoch", m.epoch},
      {"loss", "of the last logged step", m.loss},
      {"logit_scale", "exponentiated", m.logit_scale},
      {"lr", "learning rate", m.lr},
      {"grad_norm", "before clipping", m.grad_norm},
      {"samples_per_s", "over all ranks", m.samples_per_s},
      {"step_ms", "mean time of a step", m.step_ms},
      {"data_wait_frac", "share of time waiting for data, mean over ranks", m.data_wait_frac},
      {"data_wait_frac_max", "of the rank that waits most", m.data_wait_frac_max},
      {"comm_wait_frac", "share of time in collectives, mean over ranks", m.comm_wait_frac},
      {"comm_wait_ms", "exposed communication of a step, mean over ranks", m.comm_wait_ms},
      {"busy_ms_min", "own work of a step, least over ranks", m.busy_ms_min},
      {"busy_ms_max", "own work of a step, most over ranks", m.busy_ms_max},
      {"slowest_rank", "which rank the others wait for", static_cast<double>(m.slowest_rank)},
      {"mfu", "standard FLOPs over the peak", m.mfu, m.mfu >= 0},
      {"rss_mb", "resident memory of rank 0, MiB", m.rss_mb},
      {"gpu_mb", "device memory of rank 0, MiB", m.gpu_mb, m.gpu_mb >= 0},
      {"power_w", "of all ranks' GPUs", m.power_w, m.power_w >= 0},
      {"bad_samples", "met since this process began", static_cast<double>(m.bad_samples)},
      {"skipped_steps", "not finite", static_cast<double>(m.skipped_steps)},
      {"written_time_seconds", "when this file was written, since 1970", now}};
  std::string text;
  for (const Gauge& gauge : gauges) {
    if (!gauge.known) continue;
    const std::string name = std::string("plumbline_") + gauge.key;
    text += str("# HELP ", name, " ", gauge.help, "\n# TYPE ", name, " gauge\n", name, "{run=\"",
                escaped(run), "\"} ", number(gauge.value), "\n");
  }
  return text;
}

PrometheusFile::PrometheusFile(std::string path, std::string run, Warn warn)
    : path_(std::move(path)), run_(std::move(run)), warn_(std::move(warn)) {}

// Without fsync: what a power cut takes is of no use after it.
void PrometheusFile::write(const StepMetrics& metrics) {
  const std::string temporary = path_ + ".tmp";
  errno = 0;
  std::ofstream file(temporary, std::ios::trunc);
  file << prometheus_text(metrics, run_, unix_time());
  file.close();
  const bool written = file.good() && std::rename(temporary.c_str(), path_.c_str()) == 0;
  if (!written && !failed_) {
    const std::string why = std::strerror(errno);
    std::remove(temporary.c_str());
    if (warn_) warn_(str("cannot write ", path_, ": ", why, "; the run goes on without it"));
  }
  failed_ = !written;
}

}  // namespace plumbline
