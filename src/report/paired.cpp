#include "report/paired.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <unordered_map>

#include "core/file.h"
#include "plumbline/error.h"
#include "report/examples.h"

namespace plumbline {
namespace {

constexpr std::int8_t kMissing = -1;

/// One set over all runs that scored it: a byte an image and run.
struct SetImages {
  std::unordered_map<std::string, std::size_t> place;  ///< of a key
  std::vector<std::string> classes;                    ///< of the first run that has the set
  std::vector<std::int32_t> target;
  std::vector<std::int64_t> cluster;                      ///< empty: none
  std::map<std::size_t, std::vector<std::int8_t>> right;  ///< by run
};

/// Class c of `set` among `classes`; the same place when the lists are equal, else by name.
std::int32_t class_in(const std::vector<std::string>& classes, const SetAccuracy& set,
                      std::int32_t c) {
  if (set.class_names == classes) return c;
  const auto found =
      std::find(classes.begin(), classes.end(), set.class_names[static_cast<std::size_t>(c)]);
  return found == classes.end() ? -1 : static_cast<std::int32_t>(found - classes.begin());
}

void add_clusters(const std::vector<Example>& rows, SetImages& images) {
  const bool named =
      std::any_of(rows.begin(), rows.end(), [](const Example& e) { return !e.cluster.empty(); });
  if (!named) return;
  std::map<std::string, std::int64_t> ids;
  for (const Example& e : rows) {
    images.cluster.push_back(ids.emplace(e.cluster, std::ssize(ids)).first->second);
  }
}

/// Adds what one run says of a set. Returns why its images are not those of the runs before, or "".
std::string add_run(std::size_t run, const SetAccuracy& set, const std::vector<Example>& rows,
                    SetImages& images) {
  if (images.place.empty()) {
    images.classes = set.class_names;
    for (const Example& e : rows) {
      if (!images.place.emplace(e.key, images.target.size()).second) {
        return str("the key '", e.key, "' stands twice");
      }
      images.target.push_back(e.target);
    }
    add_clusters(rows, images);
  }
  std::vector<std::int8_t> right(images.target.size(), kMissing);
  for (const Example& e : rows) {
    const auto found = images.place.find(e.key);
    if (found == images.place.end()) continue;
    if (class_in(images.classes, set, e.target) != images.target[found->second]) {
      return str("the image '", e.key, "' has another class than in the runs before");
    }
    right[found->second] = e.rank == 1 ? 1 : 0;
  }
  images.right[run] = std::move(right);
  return "";
}

/// The group of each image from keys.txt of a webdataset folder, lines "key TAB picture TAB group";
/// nothing when it is not there or lacks an image, or where each image is a group of its own.
void add_groups_of_folder(const SetAccuracy& set, std::vector<Example>& rows) {
  const std::string path = set.path + "/keys.txt";
  if (set.layout != "webdataset" || !std::filesystem::is_regular_file(path)) return;
  std::map<std::string, std::string> group_of;
  std::set<std::string> groups;
  std::istringstream text(read_file(path));
  for (std::string line; std::getline(text, line);) {
    const std::size_t first = line.find('\t'), last = line.rfind('\t');
    if (first == std::string::npos || first == last) return;
    group_of[line.substr(0, first)] = line.substr(last + 1);
    groups.insert(line.substr(last + 1));
  }
  const bool complete = std::all_of(rows.begin(), rows.end(),
                                    [&](const Example& e) { return group_of.contains(e.key); });
  if (!complete || groups.size() == group_of.size()) return;
  for (Example& e : rows) e.cluster = group_of[e.key];
}

std::map<std::string, SetImages> read_sets(const std::vector<Run>& runs,
                                           std::vector<std::string>& notes) {
  std::map<std::string, SetImages> sets;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    if (runs[r].evaluations.empty()) continue;
    const Evaluation& newest = runs[r].evaluations.back();
    for (const SetAccuracy& set : newest.sets) {
      const std::string path = newest.folder + "/predictions/" + set.name + ".csv";
      if (set.kind == "retrieval" || set.class_names.empty() || !std::filesystem::exists(path)) {
        continue;
      }
      std::vector<Example> rows = read_predictions(path, set.classes);
      const bool named = !rows.empty() && !rows[0].cluster.empty();
      if (!named && sets[set.name].place.empty()) add_groups_of_folder(set, rows);
      const std::string why = add_run(r, set, rows, sets[set.name]);
      if (!why.empty()) notes.push_back(str(path, ": not compared with other runs: ", why));
    }
  }
  return sets;
}

std::vector<std::pair<std::size_t, std::size_t>> choose_pairs(const std::vector<Run>& runs) {
  std::vector<std::size_t> whole, between;
  for (std::size_t r = 0; r < runs.size(); ++r)
    (is_between(runs[r]) ? between : whole).push_back(r);
  if (whole.empty()) std::swap(whole, between);
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  const std::size_t firsts = whole.size() <= kRunsInPairs ? whole.size() : 1;
  for (std::size_t a = 0; a < firsts; ++a) {
    for (std::size_t b = a + 1; b < whole.size(); ++b) pairs.emplace_back(whole[a], whole[b]);
  }
  for (const std::size_t b : between) pairs.emplace_back(whole[0], b);
  return pairs;
}

/// The images that both runs scored.
struct Common {
  std::vector<std::uint8_t> first, second;
  std::vector<std::int32_t> target;
  std::vector<std::int64_t> cluster;
};

Common common_images(const SetImages& images, std::size_t a, std::size_t b) {
  const auto& in_a = images.right.at(a);
  const auto& in_b = images.right.at(b);
  Common common;
  for (std::size_t i = 0; i < in_a.size(); ++i) {
    if (in_a[i] == kMissing || in_b[i] == kMissing) continue;
    common.first.push_back(static_cast<std::uint8_t>(in_a[i]));
    common.second.push_back(static_cast<std::uint8_t>(in_b[i]));
    common.target.push_back(images.target[i]);
    if (!images.cluster.empty()) common.cluster.push_back(images.cluster[i]);
  }
  return common;
}

void count_classes(const SetImages& images, const Common& common, PairedSet& out) {
  struct Counts {
    std::int64_t n = 0, only_first = 0, only_second = 0;
  };
  std::vector<Counts> counts(images.classes.size());
  for (std::size_t i = 0; i < common.target.size(); ++i) {
    Counts& c = counts[static_cast<std::size_t>(common.target[i])];
    ++c.n;
    c.only_first += common.first[i] > common.second[i] ? 1 : 0;
    c.only_second += common.second[i] > common.first[i] ? 1 : 0;
  }
  for (std::size_t c = 0; c < counts.size(); ++c) {
    if (counts[c].n == 0) continue;
    out.class_names.push_back(images.classes[c]);
    out.class_n.push_back(counts[c].n);
    out.class_only_first.push_back(counts[c].only_first);
    out.class_only_second.push_back(counts[c].only_second);
  }
}

PairedSet compare(const SetImages& images, const Common& common) {
  PairedSet out;
  out.all = compare_paired(common.first, common.second, common.cluster);
  const auto share = [&](const std::vector<std::uint8_t>& right) {
    return static_cast<double>(std::count(right.begin(), right.end(), 1)) /
           static_cast<double>(right.size());
  };
  out.accuracy_first = share(common.first);
  out.accuracy_second = share(common.second);
  std::vector<std::int64_t> clusters = common.cluster;
  std::sort(clusters.begin(), clusters.end());
  out.clusters = std::unique(clusters.begin(), clusters.end()) - clusters.begin();
  count_classes(images, common, out);
  return out;
}

void adjust(std::vector<PairedSet>& pairs) {
  std::vector<double> p;
  for (const PairedSet& pair : pairs) {
    if (pair.clusters == 0) p.push_back(pair.all.mcnemar_p);
  }
  const std::vector<double> adjusted = holm_adjusted(p);
  std::size_t next = 0;
  for (PairedSet& pair : pairs) {
    if (pair.clusters == 0) pair.holm_p = adjusted[next++];
  }
}

}  // namespace

std::vector<PairedSet> compare_runs(const std::vector<Run>& runs, std::vector<std::string>& notes) {
  std::vector<PairedSet> all;
  if (runs.size() < 2) return all;
  const std::map<std::string, SetImages> sets = read_sets(runs, notes);
  for (const auto& [a, b] : choose_pairs(runs)) {
    if (runs[a].evaluations.empty()) continue;
    for (const SetAccuracy& set : runs[a].evaluations.back().sets) {
      const auto images = sets.find(set.name);
      if (images == sets.end() || !images->second.right.contains(a) ||
          !images->second.right.contains(b)) {
        continue;
      }
      const Common common = common_images(images->second, a, b);
      if (common.first.empty()) {
        notes.push_back(str("set '", set.name, "': ", runs[a].name, " and ", runs[b].name,
                            " have no image in common"));
        continue;
      }
      PairedSet& pair = all.emplace_back(compare(images->second, common));
      pair.first = runs[a].name;
      pair.second = runs[b].name;
      pair.set = set.name;
    }
  }
  adjust(all);
  return all;
}

}  // namespace plumbline
