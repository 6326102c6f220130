// Values that may be missing, as JSON. Included only where files are written.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "plumbline/stats.h"

namespace plumbline {

using Json = nlohmann::ordered_json;

[[nodiscard]] inline Json finite(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

[[nodiscard]] inline Json to_json(const Interval& interval) {
  return Json::array({interval.lo, interval.hi});
}

template <typename T>
[[nodiscard]] Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}
[[nodiscard]] inline Json or_null(const std::optional<Interval>& interval) {
  return interval ? to_json(*interval) : Json(nullptr);
}
[[nodiscard]] inline Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

}  // namespace plumbline
