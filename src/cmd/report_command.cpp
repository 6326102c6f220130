#include <iostream>
#include <map>

#include "cmd/command.h"
#include "plumbline/eval_suite.h"
#include "plumbline/report.h"

namespace plumbline {
namespace {

/// The pictures of an evaluated set, from where the evaluation read them. Classes and prompts do
/// not matter here, so a set is listed whole: keys are the same with and without restriction.
/// ObjectNet alone needs its class list to be read at all.
std::vector<std::string> read_pictures(const PictureSource& source,
                                       const std::vector<std::string>& keys) {
  EvalSetOptions options;
  options.name = source.name;
  options.layout = source.layout;
  options.path = source.path;
  if (!source.split.empty()) options.split = source.split;
  options.variant = source.variant;
  if (source.layout == "objectnet") options.classes = source.class_list;
  options.where = str("set '", source.name, "' ");
  const EvalSet set = open_eval_set(options, "name-only", "");
  std::map<std::string, const ImageRef*> place;
  for (const ImageRef& item : set.items) place.emplace(item.key, &item);
  std::vector<std::string> pictures;
  for (const std::string& key : keys) {
    std::string& bytes = pictures.emplace_back();
    const auto found = place.find(key);
    if (found == place.end()) continue;
    const std::vector<std::uint8_t> read = read_image_bytes(*found->second);
    bytes.assign(read.begin(), read.end());
  }
  return pictures;
}

ExitCode run_report(const ReportOptions& options) {
  check_output_folder("--out", options.out);
  const ReportSummary summary = write_report(options, read_pictures);
  std::cout << summary.table;
  for (const std::string& note : summary.notes) std::cerr << "note: " << note << '\n';
  std::cout << "report: " << summary.index_html << '\n';
  return ExitCode::done;
}

}  // namespace

void add_report(CLI::App& app, CommandContext& context) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* command = app.add_subcommand("report", "One HTML page about runs, and fits.json");
  command->add_option("PATH", options->paths, "Run folders, or folders with results.json")
      ->required();
  command->add_option("--models", options->models, "CSV of models to place on the scatter plots");
  command->add_option("--baseline", options->baseline, "CSV of models to fit the baseline to");
  command->add_option("--out", options->out, "Folder for index.html and fits.json")->required();
  command->callback(
      [options, &context] { context.action = [options] { return run_report(*options); }; });
}

}  // namespace plumbline
