// What the shard tools share: arguments, progress that a signal ends, output.
#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmd/command.h"
#include "data/sample_copy.h"
#include "log/log.h"
#include "train/stop_signal.h"

namespace plumbline {

/// A progress line at most five times a second, on a terminal only. After SIGINT or SIGTERM its
/// callback throws (exit code 75), so that half-written files are removed.
class ProgressLine {
 public:
  explicit ProgressLine(std::string what) : what_(std::move(what)) {}
  [[nodiscard]] Progress callback();
  void clear();

 private:
  std::string what_;
  Log log_{"", true};
  StopSignal signal_;
  std::chrono::steady_clock::time_point last_;
};

/// What several tools take.
struct ShardArguments {
  std::vector<std::string> shards;
  std::string out;
  std::string index_dir;
  bool allow_pipe = false;
  int threads = 0;
  bool json = false;
  [[nodiscard]] SourceOptions source() const;
  [[nodiscard]] ToolInput input() const;
};

/// A subcommand with SHARDS and the flags above but --out.
CLI::App* add_tool(CLI::App& group, const char* name, const char* help, ShardArguments& a);

/// A document, or its keys a line each.
void print(const nlohmann::ordered_json& document, bool as_json);

// In data_audit.cpp, data_select.cpp and data_score.cpp.
void add_audit(CLI::App& group, CommandContext& context);
void add_mix(CLI::App& group, CommandContext& context);
void add_match(CLI::App& group, CommandContext& context);
void add_filter(CLI::App& group, CommandContext& context);
void add_transcode(CLI::App& group, CommandContext& context);
void add_score(CLI::App& group, CommandContext& context);

}  // namespace plumbline
