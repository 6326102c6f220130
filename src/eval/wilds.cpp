// The layouts of WILDS (Koh et al. 2021, arXiv:2012.07421): camera traps (iWildCam) and satellite
// images (FMoW), whose labels and splits stand in a table.
#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "eval/layouts.h"
#include "plumbline/error.h"
#include "report/csv.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

CsvTable read_table(const fs::path& path) {
  if (!fs::is_regular_file(path)) throw UsageError(str("no file ", path.string()));
  return read_csv(path.string());
}

/// Cells of one column, by row.
class Column {
 public:
  Column(const CsvTable& table, const std::string& name) : table_(table), name_(name) {
    const auto place = table.column(name);
    if (!place) throw DataError(str(table.path, ":1: no column '", name, "'"));
    place_ = *place;
  }
  [[nodiscard]] const std::string& operator[](std::size_t row) const {
    return table_.rows[row][place_];
  }
  [[noreturn]] void fail(std::size_t row, const std::string& why) const {
    throw DataError(
        str(table_.path, ":", table_.line_of_row[row], ": ", name_, " '", (*this)[row], "' ", why));
  }

 private:
  const CsvTable& table_;
  std::string name_;
  std::size_t place_ = 0;
};

void check_split(const EvalSetOptions& options, const std::vector<std::string>& splits) {
  if (std::find(splits.begin(), splits.end(), options.split) != splits.end()) return;
  std::string known;
  for (const std::string& split : splits) known += (known.empty() ? "" : ", ") + split;
  throw UsageError(
      str(options.where, "has the split '", options.split, "', which is none of ", known));
}

constexpr std::int32_t kLargestLabel = 99'999;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// Of all rows, at least one.
std::vector<std::int32_t> read_labels(const CsvTable& table, const Column& label) {
  std::vector<std::int32_t> labels;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const std::string& text = label[i];
    std::int32_t y = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), y);
    if (error != std::errc() || end != text.data() + text.size() || y < 0 || y > kLargestLabel) {
      label.fail(i, "is no class");
    }
    labels.push_back(y);
  }
  if (labels.empty()) throw DataError(table.path + ": has no row");
  return labels;
}

constexpr char kOtherRegion[] = "Other";
constexpr int kFirstYear = 2002, kLastYear = 2017;

/// Region of an alpha-3 country code.
std::map<std::string, std::string> read_regions(const fs::path& path) {
  const CsvTable table = read_table(path);
  const Column code(table, "alpha-3"), region(table, "region");
  std::map<std::string, std::string> regions;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    if (!region[i].empty()) regions[code[i]] = region[i];
  }
  return regions;
}

/// The day of an ISO 8601 time in UTC, "2016-01-29": days compare as text.
std::string day_of(const Column& timestamps, std::size_t row) {
  const std::string day = timestamps[row].substr(0, 10);
  const std::string form = "dddd-dd-dd";
  bool fits = day.size() == form.size();
  for (std::size_t i = 0; fits && i < form.size(); ++i) {
    fits = form[i] == 'd' ? day[i] >= '0' && day[i] <= '9' : day[i] == form[i];
  }
  if (!fits) timestamps.fail(row, "is no time like 2016-01-29T18:48:45Z");
  return day;
}

/// Whether a row of the release's split `of` and of this day belongs to the split `wanted`: times
/// divide training, validation and test.
bool in_split(const std::string& wanted, const std::string& of, const std::string& day) {
  const bool early = day < "2013-01-01", late = day >= "2016-01-01";
  if (wanted == "train") return of == "train" && early;
  if (wanted == "id_val") return of == "val" && early;
  if (wanted == "id_test") return of == "test" && early;
  if (wanted == "val") return of == "val" && !early && !late;
  return of == "test" && late;
}

/// Adds an image to a group, which is made where it is new.
void put(Grouping& grouping, std::map<std::string, std::int32_t>& places,
         const std::string& group) {
  const auto [found, is_new] =
      places.emplace(group, static_cast<std::int32_t>(grouping.groups.size()));
  if (is_new) grouping.groups.push_back(group);
  grouping.group_of.push_back(found->second);
}

std::vector<std::string> fmow_templates() {
  std::vector<std::string> templates;
  for (const std::string view : {"satellite", "aerial"}) {
    templates.push_back(view + " photo of a {c}.");
    templates.push_back(view + " photo of {a}.");
    for (const std::string region : {"asia", "africa", "the americas", "europe", "oceania"}) {
      templates.push_back(view + " photo of a {c} in " + region + ".");
    }
  }
  templates.insert(templates.end(), {"a photo of a {c}.", "{c}."});
  return templates;
}

}  // namespace

Listing list_iwildcam(const EvalSetOptions& options, const std::string&) {
  check_split(options, {"train", "val", "test", "id_val", "id_test"});
  if (options.names.empty() && options.kind == "classification") {
    throw UsageError(str(options.where, "needs 'names': a file with the English name of each ",
                         "class; the release has numbers alone"));
  }
  const fs::path root = options.path;
  const CsvTable table = read_table(root / "metadata.csv");
  const Column split(table, "split"), label(table, "y"), file(table, "filename");
  const std::vector<std::int32_t> labels = read_labels(table, label);
  Listing listing;
  listing.templates = {"a photo of {c}.", "{c} in the wild."};
  const std::int32_t classes = 1 + *std::max_element(labels.begin(), labels.end());
  if (options.names.empty()) {
    for (std::int32_t c = 0; c < classes; ++c) listing.class_names.push_back(str("class ", c));
  } else {
    for (const std::string& name : read_lines(options.names, "class names")) {
      listing.class_names.push_back(lower(name));
    }
  }
  if (std::ssize(listing.class_names) < classes) {
    throw UsageError(str(options.names, ": ", listing.class_names.size(), " names for ", classes,
                         " classes of ", table.path));
  }
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    if (split[i] != options.split) continue;
    // Images of all splits stand in one folder.
    listing.items.push_back({file[i], (root / "train" / file[i]).string()});
    listing.targets.push_back(labels[i]);
  }
  return listing;
}

Listing list_fmow(const EvalSetOptions& options, const std::string&) {
  check_split(options, {"train", "val", "test", "id_val", "id_test"});
  const fs::path root = options.path;
  const auto regions = read_regions(root / "country_code_mapping.csv");
  const CsvTable table = read_table(root / "rgb_metadata.csv");
  const Column split(table, "split"), category(table, "category"), time(table, "timestamp"),
      country(table, "country_code");
  std::set<std::string> categories;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    if (split[i] != "seq") categories.insert(category[i]);
  }
  Listing listing;
  listing.class_names.assign(categories.begin(), categories.end());
  listing.templates = fmow_templates();
  Grouping region{"region", {}, {}, kOtherRegion}, year{"year", {}, {}, ""};
  for (int y = kFirstYear; y <= kLastYear; ++y) year.groups.push_back(std::to_string(y));
  std::map<std::string, std::int32_t> region_places;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    if (split[i] == "seq") continue;
    const std::string day = day_of(time, i);
    if (!in_split(options.split, split[i], day)) continue;
    // Images are numbered by the row of the whole table, sequences included.
    const std::string key = str("rgb_img_", i, ".png");
    listing.items.push_back({key, (root / "images" / key).string()});
    const auto target = std::distance(categories.begin(), categories.find(category[i]));
    listing.targets.push_back(static_cast<std::int32_t>(target));
    const auto found = regions.find(country[i]);
    put(region, region_places, found == regions.end() ? kOtherRegion : found->second);
    const int y = std::stoi(day.substr(0, 4));
    year.group_of.push_back(y < kFirstYear || y > kLastYear ? -1 : y - kFirstYear);
  }
  if (!options.names.empty()) listing.class_names = read_lines(options.names, "class names");
  if (listing.class_names.size() != categories.size()) {
    throw UsageError(str(options.names, ": ", listing.class_names.size(), " names for ",
                         categories.size(), " categories"));
  }
  listing.groupings = {std::move(region), std::move(year)};
  return listing;
}

}  // namespace plumbline
