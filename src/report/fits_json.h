// fits.json: every line and every model's distance from it.
#pragma once

#include <string>

#include "report/panels.h"

namespace plumbline {

/// {fits: [...], models: [...], sources: {...}}; docs/reference/report.md lists the keys.
[[nodiscard]] std::string fits_json(const std::vector<Panel>& panels, const ReportTables& tables);

}  // namespace plumbline
