// fits.json: every line, every model's distance from it, every comparison.
#pragma once

#include <string>

#include "report/page_data.h"

namespace plumbline {

/// {fits, models, paired, contrasts, sources}; docs/reference/report.md lists the keys.
[[nodiscard]] std::string fits_json(const ReportContent& content);

}  // namespace plumbline
