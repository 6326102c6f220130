#include "report/comparison_json.h"

namespace plumbline {

Json paired_to_json(const PairedSet& pair, bool with_classes) {
  const PairedComparison& all = pair.all;
  const bool clustered = pair.clusters > 0;
  Json json = {{"first", pair.first},
               {"second", pair.second},
               {"set", pair.set},
               {"n", all.n},
               {"clusters", clustered ? Json(pair.clusters) : Json(nullptr)},
               {"accuracy_first", pair.accuracy_first},
               {"accuracy_second", pair.accuracy_second},
               {"difference", all.difference},
               {"ci95", to_json(all.ci95)},
               {"only_first", all.only_first},
               {"only_second", all.only_second},
               {"mcnemar_p", clustered ? Json(nullptr) : Json(all.mcnemar_p)},
               {"holm_p", clustered ? Json(nullptr) : Json(pair.holm_p)},
               {"verdict", name_of(judge(all.ci95, kAccuracyMargin))}};
  if (with_classes) {
    json["class_names"] = pair.class_names;
    json["class_n"] = pair.class_n;
    json["class_only_first"] = pair.class_only_first;
    json["class_only_second"] = pair.class_only_second;
    Json p = Json::array();
    for (std::size_t c = 0; c < pair.class_n.size(); ++c) {
      p.push_back(mcnemar_exact(pair.class_only_first[c], pair.class_only_second[c]));
    }
    json["class_p"] = std::move(p);
  }
  return json;
}

Json contrast_to_json(const ArmContrast& c) {
  return {{"x", c.x},
          {"y", c.y},
          {"axis", name_of(c.axis)},
          {"metric", c.metric},
          {"measure", c.measure},
          {"transform", or_null(c.transform)},
          {"baseline", or_null(c.baseline)},
          {"first", c.first},
          {"second", c.second},
          {"n_first", c.contrast.n_first},
          {"n_second", c.contrast.n_second},
          {"mean_first", c.contrast.mean_first},
          {"mean_second", c.contrast.mean_second},
          {"difference", c.contrast.difference},
          {"ci95", or_null(c.contrast.ci95)},
          {"p", or_null(c.contrast.p)},
          {"margin", c.margin},
          {"verdict", name_of(c.verdict)},
          {"models_needed", or_null(c.models_needed)}};
}

}  // namespace plumbline
