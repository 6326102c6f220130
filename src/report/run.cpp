#include "report/run.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/file.h"
#include "plumbline/error.h"
#include "report/run_files.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string last_part(const std::string& path) {
  fs::path clean = fs::path(path).lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  if (clean == "." || clean.empty()) clean = fs::absolute(path).lexically_normal().parent_path();
  return clean.filename().string();
}

void read_environment(const std::string& path, Run& run) {
  run.environment_json = read_file(path);
  const Json json = Json::parse(run.environment_json, nullptr, false);
  if (!json.is_object()) {
    run.notes.push_back(path + ": no JSON object; world size, commit and date are not known");
    run.environment_json.clear();
    return;
  }
  if (json.contains("world") && json["world"].is_number_integer()) run.world = json["world"];
  if (json.contains("commit") && json["commit"].is_string()) run.commit = json["commit"];
  if (json.contains("time") && json["time"].is_number()) run.start_time = json["time"];
}

/// The first start's time and the planned number of steps.
void read_events(const std::string& path, Run& run) {
  std::istringstream text(read_file(path));
  for (std::string line; std::getline(text, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("event")) continue;
    if (json.contains("total_steps") && json["total_steps"].is_number_integer()) {
      run.total_steps = json["total_steps"];
    }
    if (json["event"] == "start" && json.contains("time") && json["time"].is_number()) {
      run.start_time = json["time"];
    }
  }
}

void read_evaluations(const std::string& folder, Run& run) {
  std::vector<std::string> folders;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) folders.push_back(entry.path().string());
  }
  std::sort(folders.begin(), folders.end());
  for (const std::string& path : folders) {
    if (fs::exists(path + "/results.json")) {
      run.evaluations.push_back(read_evaluation(path));
    } else {
      run.notes.push_back(path + ": no results.json, the evaluation did not finish; left out");
    }
  }
  std::stable_sort(run.evaluations.begin(), run.evaluations.end(),
                   [](const Evaluation& a, const Evaluation& b) {
                     return a.step.value_or(-1) < b.step.value_or(-1);
                   });
}

void read_run_files(Run& run) {
  const std::string& path = run.path;
  if (fs::exists(path + "/config.yaml")) run.config_yaml = read_file(path + "/config.yaml");
  if (fs::exists(path + "/environment.json")) read_environment(path + "/environment.json", run);
  if (fs::exists(path + "/events.jsonl")) read_events(path + "/events.jsonl", run);
  if (fs::exists(path + "/metrics.jsonl")) {
    run.curves = read_curves(path + "/metrics.jsonl", run.notes);
  }
  if (run.curves.lines == 0) run.notes.push_back(path + ": no step was logged in metrics.jsonl");
  if (fs::is_directory(path + "/evaluation")) read_evaluations(path + "/evaluation", run);
  if (run.evaluations.empty()) run.notes.push_back(path + ": no finished evaluation");
}

}  // namespace

bool is_between(const Run& run) {
  if (run.evaluations.empty()) return false;
  const auto& merge = run.evaluations.back().merge;
  return merge && merge->alpha && *merge->alpha > 0 && *merge->alpha < 1;
}

Run read_run(const std::string& path) {
  Run run;
  run.path = path;
  run.name = last_part(path);
  if (!fs::is_directory(path)) throw UsageError(str("report: '", path, "' is no folder"));
  if (fs::exists(path + "/results.json")) {
    run.evaluations.push_back(read_evaluation(path));
  } else if (fs::exists(path + "/config.yaml") || fs::exists(path + "/metrics.jsonl") ||
             fs::is_directory(path + "/evaluation")) {
    read_run_files(run);
  } else {
    throw UsageError(str("report: '", path,
                         "' is neither a run folder (config.yaml, metrics.jsonl, evaluation/) nor "
                         "an evaluation folder (results.json)"));
  }
  for (const Evaluation& evaluation : run.evaluations) run.model = evaluation.model;
  return run;
}

std::vector<Run> read_runs(const std::vector<std::string>& paths) {
  if (paths.empty()) throw UsageError("report: give at least one run folder");
  std::vector<Run> runs;
  std::map<std::string, int> uses;
  for (const std::string& path : paths) {
    runs.push_back(read_run(path));
    ++uses[runs.back().name];
  }
  std::map<std::string, std::string> path_of;
  bool any = false;
  for (Run& run : runs) {
    if (uses[run.name] > 1) run.name = fs::path(run.path).lexically_normal().string();
    if (!path_of.emplace(run.name, run.path).second) {
      throw UsageError(str("report: '", run.path, "' is given twice"));
    }
    any = any || run.curves.lines > 0 || !run.evaluations.empty();
  }
  if (!any) {
    throw DataError(str("report: nothing to show: ", paths[0],
                        paths.size() > 1 ? " and the others have" : " has",
                        " neither a logged step nor a finished evaluation"));
  }
  return runs;
}

}  // namespace plumbline
