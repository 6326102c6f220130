// What the page draws, as one JSON document inside it.
#pragma once

#include <string>
#include <vector>

#include "report/arms.h"
#include "report/examples.h"
#include "report/paired.h"
#include "report/panels.h"
#include "report/run.h"

namespace plumbline {

struct ReportContent {
  std::vector<Run> runs;
  ReportTables tables;
  std::vector<Panel> panels;
  std::vector<PairedSet> paired;
  std::vector<ArmContrast> contrasts;
  /// Of each run's newest evaluation; empty for all but the first kRunsWithPictures.
  std::vector<std::vector<SetExamples>> examples;
  std::vector<std::string> notes;
};

inline constexpr std::size_t kRunsWithPictures = 3;

[[nodiscard]] std::string page_data(const ReportContent& content);

}  // namespace plumbline
