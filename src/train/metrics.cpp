#include "train/metrics.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

Json or_null(double value) { return value < 0 ? Json(nullptr) : Json(value); }

/// Lines of `path` whose step is at most `last_step`; a torn last line is dropped.
std::string lines_up_to(const std::string& path, std::int64_t last_step) {
  std::ifstream in(path);
  std::string kept, line;
  while (std::getline(in, line)) {
    const Json j = Json::parse(line, nullptr, false);
    if (j.is_object() && j.value("step", last_step + 1) <= last_step) kept += line + "\n";
  }
  return kept;
}

/// Without the lines that are to be written again.
std::string cut_back(const std::string& path, std::int64_t last_step) {
  if (std::filesystem::exists(path)) write_file_atomically(path, lines_up_to(path, last_step));
  return path;
}

std::string event_file(const std::string& dir) {
  std::error_code failed;
  std::filesystem::create_directories(dir, failed);
  if (failed) throw Error(str("cannot create ", dir, ": ", failed.message()));
  return str(dir, "/events.out.tfevents.", static_cast<long long>(unix_time()), ".", ::getpid(),
             ".plumbline");
}

// --- TensorBoard -----------------------------------------------------------------------------

std::uint32_t crc32c(const std::string& bytes) {
  static const auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = (c >> 1) ^ (0x82F63B78U & (0U - (c & 1U)));
      table[i] = c;
    }
    return table;
  }();
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU] ^ (crc >> 8);
  }
  return ~crc;
}

template <typename T>
std::string little_endian(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string masked_crc(const std::string& bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return little_endian<std::uint32_t>(((crc >> 15) | (crc << 17)) + 0xa282ead8U);
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  while (value >= 0x80) {
    bytes += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  bytes += static_cast<char>(value);
  return bytes;
}

/// Field `number` holding a double (wire type 1).
std::string double_field(int number, double value) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 1) + little_endian(value);
}

/// Field `number` holding bytes (wire type 2).
std::string bytes_field(int number, const std::string& bytes) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 2) + varint(bytes.size()) + bytes;
}

}  // namespace

MetricsFile::MetricsFile(const std::string& path, std::int64_t last_step, AppendFile::Warn warn)
    : file_(cut_back(path, last_step), std::move(warn)) {}

void MetricsFile::write(const StepMetrics& m) {
  const Json line = {{"step", m.step},
                     {"samples", m.samples},
                     {"epoch", m.epoch},
                     {"loss", m.loss},
                     {"logit_scale", m.logit_scale},
                     {"lr", m.lr},
                     {"grad_norm", m.grad_norm},
                     {"samples_per_s", m.samples_per_s},
                     {"step_ms", m.step_ms},
                     {"data_wait_frac", m.data_wait_frac},
                     {"comm_wait_frac", m.comm_wait_frac},
                     {"data_wait_frac_max", m.data_wait_frac_max},
                     {"comm_wait_ms", m.comm_wait_ms},
                     {"busy_ms_min", m.busy_ms_min},
                     {"busy_ms_max", m.busy_ms_max},
                     {"slowest_rank", m.slowest_rank},
                     {"power_w", or_null(m.power_w)},
                     {"mfu", or_null(m.mfu)},
                     {"rss_mb", m.rss_mb},
                     {"gpu_mb", or_null(m.gpu_mb)},
                     {"bad_samples", m.bad_samples},
                     {"skipped_steps", m.skipped_steps},
                     {"rollbacks", m.rollbacks}};
  file_.append(line.dump() + "\n");
}

EventsFile::EventsFile(const std::string& path, AppendFile::Warn warn)
    : file_(path, std::move(warn)) {}

void EventsFile::write(const std::string& event, std::int64_t step,
                       const std::string& values_json) {
  Json line = {{"event", event}, {"time", unix_time()}, {"step", step}};
  const Json values = Json::parse(values_json);  // named: items() keeps a reference to it
  for (const auto& [key, value] : values.items()) line[key] = value;
  file_.append(line.dump() + "\n");
}

TensorBoardFile::TensorBoardFile(const std::string& dir, AppendFile::Warn warn)
    : file_(event_file(dir), std::move(warn)) {
  // Event{wall_time = 1: double, file_version = 3: string}
  record(double_field(1, unix_time()) + bytes_field(3, "brain.Event:2"));
}

void TensorBoardFile::record(const std::string& payload) {
  const std::string length = little_endian<std::uint64_t>(payload.size());
  file_.append(length + masked_crc(length) + payload + masked_crc(payload));
}

void TensorBoardFile::write(std::int64_t step,
                            const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    // Summary.Value{tag = 1: string, simple_value = 2: float}
    std::string item = bytes_field(1, tag);
    item += '\x15';
    item += little_endian(static_cast<float>(value));
    summary += bytes_field(1, item);
  }
  // Event{wall_time = 1, step = 2: int64, summary = 5}
  std::string event = double_field(1, unix_time());
  event += '\x10';
  event += varint(static_cast<std::uint64_t>(step));
  event += bytes_field(5, summary);
  record(event);
}

double resident_mb() {
  std::ifstream statm("/proc/self/statm");
  double total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace plumbline
