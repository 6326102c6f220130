// The command's three outputs: fits.json, index.html, the table of the terminal.
#include "plumbline/report.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "core/assets.h"
#include "core/file.h"
#include "plumbline/error.h"
#include "report/fits_json.h"
#include "report/page_data.h"
#include "report/page_source.h"

namespace plumbline {
namespace {

std::string percent(const std::optional<double>& share) {
  if (!share) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", 100 * *share);
  return text;
}

std::string percent(const std::optional<Interval>& interval) {
  if (!interval) return "-";
  return str("[", percent(interval->lo), ", ", percent(interval->hi), "]");
}

using Rows = std::vector<std::vector<std::string>>;

/// First column to the left, the others to the right.
std::string align(const Rows& rows) {
  std::vector<std::size_t> width(rows[0].size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    text += row[0] + std::string(width[0] - row[0].size(), ' ');
    for (std::size_t i = 1; i < row.size(); ++i) {
      text += "  " + std::string(width[i] - row[i].size(), ' ') + row[i];
    }
    text += '\n';
  }
  return text;
}

std::string newest_table(const std::vector<Run>& runs) {
  std::string text;
  for (const Run& run : runs) {
    if (run.evaluations.empty()) {
      text += str(run.name, ": no finished evaluation\n");
      continue;
    }
    const Evaluation& newest = run.evaluations.back();
    text += run.name;
    if (newest.step) text += str(", step ", *newest.step);
    text += '\n';
    Rows rows = {{"set", "n", "top1 %", "95 %", "mean/class %", "95 %"}};
    for (const SetAccuracy& set : newest.sets) {
      rows.push_back({set.name, std::to_string(set.n), percent(set.top1), percent(set.ci95),
                      percent(set.mean_per_class), percent(set.mean_per_class_ci95)});
    }
    text += align(rows);
  }
  return text;
}

/// Replaces the one occurrence of each `<!--NAME-->`; the values are not searched again.
std::string fill(std::string_view page,
                 const std::vector<std::pair<std::string_view, std::string_view>>& values) {
  std::string out;
  std::size_t from = 0;
  for (const auto& [mark, value] : values) {
    const std::size_t at = page.find(mark, from);
    require(at != std::string_view::npos, "page.html holds the marks in order");
    out.append(page, from, at - from).append(value);
    from = at + mark.size();
  }
  return out.append(page, from);
}

/// JSON for a script element: no '<' can end it.
std::string without_tags(const std::string& json) {
  std::string out;
  for (const char c : json) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string make_page(const ReportContent& content) {
  std::string title;
  constexpr std::size_t kNamed = 4;
  for (std::size_t i = 0; i < std::min(content.runs.size(), kNamed); ++i) {
    if (i > 0) title += ", ";
    title += content.runs[i].name;
  }
  if (content.runs.size() > kNamed) title += str(" and ", content.runs.size() - kNamed, " more");
  const std::string plotly = read_file(find_asset("plotly.min.js"));
  if (plotly.find("</script") != std::string::npos) {
    throw DataError("plotly.min.js: holds '</script' and cannot stand inside a page");
  }
  return fill(page_html(), {{"<!--TITLE-->", escape_html(title)},
                            {"/*CSS*/", page_css()},
                            {"{\"DATA\":0}", without_tags(page_data(content))},
                            {"/*PLOTLY*/", plotly},
                            {"/*SCRIPT*/", page_script()}});
}

ReportContent read_content(const ReportOptions& options, const PictureReader& read_pictures) {
  ReportContent content;
  content.runs = read_runs(options.paths);
  if (!options.models.empty()) content.tables.models = read_model_table(options.models);
  if (!options.baseline.empty()) content.tables.baseline = read_model_table(options.baseline);
  std::size_t with_pictures = 0;
  for (const Run& run : content.runs) {
    content.notes.insert(content.notes.end(), run.notes.begin(), run.notes.end());
    auto& examples = content.examples.emplace_back();
    if (run.evaluations.empty() || is_between(run) || with_pictures == kRunsWithPictures) continue;
    examples = pick_examples(run.evaluations.back(), read_pictures);
    ++with_pictures;
  }
  content.panels = make_panels(content.runs, content.tables, content.notes);
  content.paired = compare_runs(content.runs, content.notes);
  content.contrasts = contrast_arms(content.panels);
  return content;
}

}  // namespace

ReportSummary write_report(const ReportOptions& options, const PictureReader& read_pictures) {
  namespace fs = std::filesystem;
  const ReportContent content = read_content(options, read_pictures);
  const std::string page = make_page(content);
  std::error_code failed;
  fs::create_directories(options.out, failed);
  if (failed) throw Error(str("making the folder ", options.out, ": ", failed.message()));
  const fs::path folder(options.out);
  write_file_atomically((folder / "fits.json").string(), fits_json(content));
  const std::string index = (folder / "index.html").string();
  write_file_atomically(index, page);
  return {index, newest_table(content.runs), content.notes};
}

}  // namespace plumbline
