// What the page draws, as one JSON document inside it.
#pragma once

#include <string>
#include <vector>

#include "report/examples.h"
#include "report/panels.h"
#include "report/run.h"

namespace plumbline {

struct ReportContent {
  std::vector<Run> runs;
  ReportTables tables;
  std::vector<Panel> panels;
  std::vector<std::vector<SetExamples>> examples;  ///< of each run's newest evaluation
  std::vector<std::string> notes;
};

[[nodiscard]] std::string page_data(const ReportContent& content);

}  // namespace plumbline
