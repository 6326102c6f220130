// A plan as people and as programs read it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace plumbline {

/// What is known of a source of the run without opening its shards.
struct PlanSource {
  std::string name;
  std::int64_t shards = 0, indexed = 0;  ///< 0 shards: a table or synthetic
  std::int64_t samples = 0;              ///< of the indexed shards
  std::int64_t bytes = 0;                ///< likewise
};

struct PlanDocument {
  std::string config, model;
  PlanInput input;
  Plan plan;
  std::vector<PlanSource> sources;
  std::vector<std::string> notes;  ///< what the reader should know or mend
};

/// The plan at another world size: with the same global batch, or the same rows a rank.
struct ScalingPoint {
  int world = 1;
  Plan fixed, growing;
  bool fixed_possible = true;  ///< false: fewer rows than ranks
};

/// World sizes 1, 2, 4, ... 1024.
[[nodiscard]] std::vector<ScalingPoint> scaling_curve(const PlanInput& input);

[[nodiscard]] std::string plan_json(const PlanDocument& document);
[[nodiscard]] std::string plan_text(const PlanDocument& document);

}  // namespace plumbline
