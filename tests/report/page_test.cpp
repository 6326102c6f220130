// The page: self-contained, with the right data, drawn by a browser without an error.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "core/file.h"
#include "fixture.h"
#include "plumbline/error.h"
#include "report/examples.h"

namespace plumbline {
namespace {

using Page = ReportTest;

std::string read_if_there(const std::string& path) {
  return std::filesystem::exists(path) ? read_file(path) : "";
}

TEST_F(Page, TheTerminalTableHoldsTheNewestEvaluation) {
  const ReportSummary summary = report({make_run("demo", "--steps 220 --every 110")});
  const Json newest = page_data()["runs"][0]["evaluations"][1];
  EXPECT_EQ(newest["step"], 220);
  std::istringstream lines(summary.table);
  std::string title, head, first;
  std::getline(lines, title);
  std::getline(lines, head);
  std::getline(lines, first);
  EXPECT_EQ(title, "demo, step 220");
  EXPECT_TRUE(std::regex_match(head, std::regex("set +n +top1 % +95 % +mean/class % +95 %")));
  char expected[64];
  std::snprintf(expected, sizeof expected, "%.2f", 100 * newest["sets"][0]["top1"].get<double>());
  EXPECT_TRUE(std::regex_match(first, std::regex("clipart +274 +" + std::string(expected) +
                                                 " +\\[.*\\] +[0-9.]+ +\\[.*\\]")));
}

TEST_F(Page, LoadsNothingFromElsewhere) {
  (void)report({make_run("demo", "--steps 220 --every 110")});
  const std::string html = page();
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
  // Plotly holds addresses of map tiles and licences; the page's own parts hold none at all.
  const std::size_t plotly = html.find("plotly.js v"), end = html.find("</script>", plotly);
  ASSERT_NE(plotly, std::string::npos);
  const std::string own = html.substr(0, plotly) + html.substr(end);
  EXPECT_EQ(own.find("http://"), std::string::npos);
  EXPECT_EQ(own.find("https://"), std::string::npos);
  EXPECT_FALSE(std::regex_search(own, std::regex(R"((src|href)="(?!data:|#))")));
  EXPECT_FALSE(std::regex_search(own, std::regex(R"(@import|url\(|fetch\(|XMLHttpRequest)")));
}

TEST_F(Page, TextOfTheInputsCannotBecomeMarkup) {
  const std::string run = make_run("demo <b>", "--steps 110 --every 110");
  write("demo <b>/config.yaml", "run: </script><script>document.title = 'x'</script>\n");
  (void)report({run});
  EXPECT_EQ(page().find("document.title"), page().find("document.title = 'x'\\u003c"));
  EXPECT_NE(page().find("<title>demo &lt;b&gt;"), std::string::npos);
  EXPECT_EQ(page_data()["runs"][0]["name"], "demo <b>");
}

TEST_F(Page, ASecondReportReplacesTheFirst) {
  const std::string run = make_run("demo", "--steps 110 --every 110");
  (void)report({run});
  const std::string fits_before = read_file(path("report/fits.json"));
  (void)report({run});
  EXPECT_EQ(read_file(path("report/fits.json")), fits_before);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path("report"))) {
    EXPECT_NE(entry.path().extension(), ".tmp");
    ++files;
  }
  EXPECT_EQ(files, 2U);
}

Example prediction(const std::string& key, std::int32_t target, std::size_t rank) {
  return {key, target, {0, 1, 2, 3, 4}, rank, "", ""};
}

TEST(Examples, WorstFirstAndSpreadOverClasses) {
  std::vector<Example> all;
  for (int i = 0; i < 60; ++i) {
    const std::string key = str("k", i);
    all.push_back(prediction(key, i % 3, static_cast<std::size_t>(1 + i % 6)));
  }
  const std::vector<Example> wrong = order_candidates(all, false);
  ASSERT_EQ(wrong.size(), 50U);
  for (std::size_t i = 1; i < wrong.size(); ++i) EXPECT_LE(wrong[i].rank, wrong[i - 1].rank);
  const std::vector<Example> right = order_candidates(all, true);
  ASSERT_EQ(right.size(), 10U);
  for (const Example& e : right) EXPECT_EQ(e.rank, 1U);

  std::vector<Example> uneven;
  for (int i = 0; i < 30; ++i) uneven.push_back(prediction(str("u", i), i < 28 ? 0 : i, 1));
  std::set<std::int32_t> first;
  const std::vector<Example> spread = order_candidates(uneven, true);
  for (std::size_t i = 0; i < 3; ++i) first.insert(spread[i].target);
  EXPECT_EQ(first.size(), 3U);
}

TEST(Examples, OrderIgnoresThePlaceInTheFile) {
  std::vector<Example> all;
  for (int i = 0; i < 20; ++i) all.push_back(prediction(str("k", i), 0, 1));
  const std::vector<Example> a = order_candidates(all, true);
  std::reverse(all.begin(), all.end());
  const std::vector<Example> b = order_candidates(all, true);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].key, b[i].key);
}

TEST_F(Page, PicturesAreEmbeddedUntouchedOrTheirAbsenceTold) {
  const std::string run = make_run("demo", "--steps 110 --every 110");
  std::filesystem::remove_all(run + "/pictures/noto");
  write("demo/evaluation/step-00000110/predictions/stamps.csv", "key,target,pred1\n");
  std::filesystem::remove(run + "/evaluation/step-00000110/predictions/symbola.csv");
  (void)report({run});
  const Json examples = page_data()["runs"][0]["examples"];
  ASSERT_EQ(examples.size(), 6U);
  EXPECT_EQ(examples[0]["wrong"].size(), kExamples);
  const std::string src = examples[0]["wrong"][0]["src"];
  EXPECT_EQ(src.substr(0, 27), "data:image/png;base64,iVBOR");
  EXPECT_GT(examples[0]["wrong"][0]["rank"], 1);
  EXPECT_EQ(examples[0]["right"][0]["predictions"][0], examples[0]["right"][0]["target"]);
  EXPECT_EQ(examples[1]["note"], "no picture of the set was found");
  EXPECT_EQ(examples[4]["note"], "no picture of the set was found");
  EXPECT_NE(examples[5]["note"].get<std::string>().find("symbola.csv"), std::string::npos);
}

/// Opens pages in headless Chromium; skipped where there is none.
class Browser : public ReportTest {
 protected:
  void SetUp() override {
    for (const char* name : {"chromium", "chromium-browser", "google-chrome"}) {
      if (std::system(str("command -v ", name, " > /dev/null 2>&1").c_str()) == 0) {
        browser_ = name;
        return;
      }
    }
    GTEST_SKIP() << "no chromium: the page is not opened in a browser";
  }

  /// The page's elements after its script ran; `check` is a script added to it, run at the end.
  std::string open(const std::string& check) {
    std::string html = page();
    html.insert(html.rfind("</body>"), str("<script>", check, "</script>"));
    write("open.html", html);
    const std::string command =
        str("timeout 120 ", browser_,
            " --headless=new --no-sandbox --disable-gpu --user-data-dir=", path("profile"),
            " --window-size=1280,900 --virtual-time-budget=20000",
            " --enable-logging=stderr --dump-dom file://", path("open.html"), " > ", path("dom"),
            " 2> ", path("browser-log"));
    EXPECT_EQ(std::system(command.c_str()), 0);
    log_ = read_if_there(path("browser-log"));
    return read_if_there(path("dom"));
  }
  [[nodiscard]] const std::string& log() const { return log_; }

 private:
  std::string browser_, log_;
};

// Works every control and export, then leaves what it saw on the page.
constexpr const char* kUseEverything = R"(
(async () => {
  const seen = {saved: []}, root = document.documentElement;
  const all = query => [...document.querySelectorAll(query)];
  URL.createObjectURL = blob => { seen.saved.push(blob.type); return "#"; };
  seen.figures = all(".plot .main-svg").length;
  seen.rows = all("#table-results tbody tr").length;
  seen.points = all("#fig-scatter .scatterlayer .point").length;
  seen.pictures = all("#pictures img").filter(i => i.naturalWidth > 0).length;
  all("input[type=radio], input[type=checkbox]").forEach(input => input.click());
  all("thead button").forEach(button => { button.click(); button.click(); });
  seen.allRows = all("#table-results tbody tr").length;
  const filter = document.querySelector("#table-results .filter");
  const visible = () => all("#table-results tbody tr").filter(row => row.checkVisibility()).length;
  const use = text => { filter.value = text; filter.dispatchEvent(new Event("input")); };
  use("STAMPS  b");
  seen.filtered = visible();
  use("");
  seen.unfiltered = visible();
  seen.paired = all("#table-paired tbody tr").length;
  const pairs = document.querySelector("#table-class-differences select");
  pairs.selectedIndex = 1;
  pairs.dispatchEvent(new Event("change"));
  seen.classDifferences = document.querySelector("#table-class-differences .caption").textContent;
  const shown = all("#table-results tbody tr").map(row => Number(row.cells[6].dataset.value));
  all("#table-results thead button")[6].click();
  const sorted = all("#table-results tbody tr").map(row => Number(row.cells[6].dataset.value));
  seen.sorts = JSON.stringify(sorted) === JSON.stringify(shown.sort((a, b) => b - a));
  seen.ariaSort = all("#table-results th")[6].getAttribute("aria-sort");
  document.getElementById("theme").click();
  seen.theme = root.dataset.theme;
  dispatchEvent(new Event("beforeprint"));
  dispatchEvent(new Event("afterprint"));
  seen.themeAfterPrint = root.dataset.theme;
  for (const button of all(".export button")) {
    button.click();
    await new Promise(done => setTimeout(done, 50));
  }
  await new Promise(done => setTimeout(done, 500));
  seen.overflow = root.scrollWidth - root.clientWidth;
  root.dataset.seen = JSON.stringify(seen).replaceAll('"', "'");
})();
)";

TEST_F(Browser, DrawsEverythingAndEveryControlWorks) {
  const std::string a = make_run("a", "--steps 440 --every 110");
  const std::string b = make_run("b", "--steps 440 --every 110 --seed 4 --gain 1.2");
  std::string table = "model,type,clipart,stamps\n";
  for (int i = 0; i < 30; ++i) {
    const double x = 0.3 + 0.02 * i;
    table += str("m", i, ",STANDARD,", x, ",", 0.7 * x - 0.05 + 0.01 * (i % 4), "\n");
  }
  (void)report({a, b}, write("models.csv", "model,type,clipart,stamps\nm,VL,0.5,0.5\n"),
               write("baseline.csv", table));
  const std::string dom = open(kUseEverything);
  EXPECT_NE(dom.find("data-ready=\"true\""), std::string::npos) << log();
  EXPECT_EQ(dom.find("data-error"), std::string::npos) << log();
  EXPECT_EQ(log().find("CONSOLE"), std::string::npos) << log();
  std::smatch match;
  ASSERT_TRUE(std::regex_search(dom, match, std::regex("data-seen=\"([^\"]*)\""))) << log();
  std::string text = match[1];
  std::replace(text.begin(), text.end(), '\'', '"');
  const Json seen = Json::parse(text);
  EXPECT_GE(seen["figures"], 4) << seen;
  EXPECT_EQ(seen["rows"], 12) << seen;     // two runs, six sets
  EXPECT_EQ(seen["allRows"], 48) << seen;  // four checkpoints
  EXPECT_EQ(seen["filtered"], 4) << seen;  // four checkpoints of b
  EXPECT_EQ(seen["unfiltered"], 48) << seen;
  EXPECT_EQ(seen["paired"], 6) << seen;
  EXPECT_EQ(seen["classDifferences"].get<std::string>().find(
                "Recall of b minus recall of a on stamps, by class."),
            0U)
      << seen;
  EXPECT_GE(seen["points"], 2 * 4 * 5 + 31) << seen;
  EXPECT_EQ(seen["pictures"], 2 * 6 * 2 * static_cast<int>(kExamples)) << seen;
  EXPECT_EQ(seen["sorts"], true) << seen;
  EXPECT_EQ(seen["ariaSort"], "descending") << seen;
  EXPECT_EQ(seen["theme"], "dark") << seen;
  EXPECT_EQ(seen["themeAfterPrint"], "dark") << seen;
  EXPECT_EQ(seen["overflow"], 0) << seen;
  const auto saved = seen["saved"].get<std::vector<std::string>>();
  EXPECT_EQ(std::count(saved.begin(), saved.end(), "image/svg+xml"), 4) << seen;
  EXPECT_EQ(std::count(saved.begin(), saved.end(), "text/csv"), 6) << seen;
}

// Whatever answers to a click can be reached by Tab, says what it is, and shows that it has the
// focus. Regions that scroll are reached too.
TEST_F(Browser, EverythingCanBeReachedByKeyboardAndHasAName) {
  (void)report(
      {make_run("a", "--steps 440 --every 110"), make_run("b", "--steps 110 --every 110")});
  const std::string dom = open(R"(
    const seen = {reached: 0, lost: [], unnamed: [], clickOnly: [], shut: []};
    const name = e => e.getAttribute("aria-label") || e.textContent.trim() || e.title ||
      [...(e.labels || [])].map(l => l.textContent.trim()).join("") || e.alt;
    const short = e => e.outerHTML.slice(0, 60).replaceAll('"', "").replaceAll("'", "");
    const page = [...document.querySelectorAll("main *, header *")].filter(e => !e.closest(".plot"));
    for (const e of page) {
      const native = e.matches("button, input, select, summary, a[href]");
      if (e.onclick && !native) seen.clickOnly.push(short(e));
      const scrolls = e.scrollWidth > e.clientWidth + 1 &&
        ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
      if (scrolls && e.tabIndex < 0) seen.shut.push(short(e));
      if (!(native || e.tabIndex >= 0) || !e.checkVisibility()) continue;
      if (e.type === "radio" && !e.checked) continue;  // arrows move within a group
      e.focus();
      if (document.activeElement !== e || e.tabIndex < 0) seen.lost.push(short(e));
      if (!name(e)) seen.unnamed.push(short(e));
      ++seen.reached;
    }
    const skip = document.querySelector(".skip");
    seen.skip = skip !== null && document.querySelector(skip.getAttribute("href")) !== null;
    document.documentElement.dataset.seen = JSON.stringify(seen).replaceAll('"', "'");
  )");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(dom, match, std::regex("data-seen=\"([^\"]*)\""))) << log();
  std::string text = match[1];
  std::replace(text.begin(), text.end(), '\'', '"');
  const Json seen = Json::parse(text);
  EXPECT_GT(seen["reached"], 20) << seen;
  for (const char* list : {"lost", "unnamed", "clickOnly", "shut"})
    EXPECT_TRUE(seen[list].empty()) << seen;
  EXPECT_EQ(seen["skip"], true) << seen;
}

TEST_F(Browser, FiveHundredModelsAreDrawnSortedAndFiltered) {
  std::string table = "model,type,clipart,stamps,art4apps\n";
  for (int i = 0; i < 500; ++i) {
    const double x = 0.2 + 0.0014 * i;
    table += str("m", i, ",", i % 5 == 0 ? "STANDARD" : str("KIND", i % 5), ",", x, ",",
                 0.7 * x + 0.0001 * (i % 40), ",", 0.6 * x, "\n");
  }
  const std::string models = write("models.csv", table);
  (void)report({make_run("demo", "--steps 110 --every 110")}, models, models);
  const std::string dom = open(R"(
    const rows = () => [...document.querySelectorAll("#models tbody tr")];
    const seen = {rows: rows().length};
    const begin = performance.now();
    document.querySelectorAll("#models thead button")[3].click();
    const values = rows().map(row => row.cells[3].dataset.value).filter(v => v !== "").map(Number);
    seen.sorted = values.every((v, i) => i === 0 || v <= values[i - 1]);
    const filter = document.querySelector("#models .filter");
    filter.value = "kind3";
    filter.dispatchEvent(new Event("input"));
    seen.left = rows().filter(row => row.checkVisibility()).length;
    seen.seconds = (performance.now() - begin) / 1000;
    seen.drawn = document.querySelectorAll("#fig-scatter .scatterlayer .point").length;
    document.documentElement.dataset.seen = JSON.stringify(seen).replaceAll('"', "'");
  )");
  EXPECT_EQ(dom.find("data-error"), std::string::npos) << log();
  std::smatch match;
  ASSERT_TRUE(std::regex_search(dom, match, std::regex("data-seen=\"([^\"]*)\""))) << log();
  std::string text = match[1];
  std::replace(text.begin(), text.end(), '\'', '"');
  const Json seen = Json::parse(text);
  EXPECT_EQ(seen["rows"], 501) << seen;  // and the run
  EXPECT_EQ(seen["sorted"], true) << seen;
  EXPECT_EQ(seen["left"], 100) << seen;
  EXPECT_GE(seen["drawn"], 2 * 1000) << seen;
  EXPECT_LT(seen["seconds"].get<double>(), 5) << seen;
}

TEST_F(Browser, ACurveBetweenTwoCheckpointsIsOneLine) {
  std::vector<std::string> runs;
  for (const char* alpha : {"0", "0.5", "1"}) {
    const std::string run = make_run(str("alpha-", alpha), "--steps 110 --every 110");
    const std::string results = run + "/evaluation/step-00000110/results.json";
    Json json = Json::parse(read_file(results));
    json["merge"] = {{"kind", "interpolate"},
                     {"inputs", {"runs/a/checkpoints/step-00000100", "runs/b"}},
                     {"alpha", Json::parse(alpha)}};
    std::ofstream(results) << json.dump();
    runs.push_back(run);
  }
  (void)report(runs);
  const Json data = page_data();
  EXPECT_EQ(data["runs"][1]["evaluations"][0]["merge"]["alpha"], 0.5);
  EXPECT_TRUE(data["runs"][1]["examples"].empty());  // inside the curve
  const std::string dom = open(R"(
    document.documentElement.dataset.seen = [
      document.querySelectorAll("#fig-alpha .scatterlayer .trace").length,
      document.querySelector("#fig-alpha .annotation-text").textContent,
      document.querySelectorAll("#fig-newest .scatterlayer .trace").length].join(";");
  )");
  EXPECT_EQ(dom.find("data-error"), std::string::npos) << log();
  EXPECT_NE(dom.find("data-seen=\"7;a → b;2\""), std::string::npos)
      << dom.substr(0, 400);  // six sets and the mean of the shifts
}

// Above a dozen runs colours and legends stand for kinds, and the supervised ones make the line.
TEST_F(Browser, ManyRunsAreDrawnByKind) {
  const std::string run = make_run("demo", "--steps 110 --every 110");
  Json json = Json::parse(read_file(run + "/evaluation/step-00000110/results.json"));
  std::vector<std::string> runs;
  for (int i = 0; i < 30; ++i) {
    const double x = 0.3 + 0.02 * i;
    json["kind"] = i % 3 == 0 ? "contrastive" : "supervised";
    for (std::size_t s = 0; s < json["sets"].size(); ++s) {
      json["sets"][s]["top1"] = s == 0 ? x : 0.7 * x + 0.004 * static_cast<double>((i + s) % 7);
    }
    std::filesystem::create_directories(path(str("m", i)));
    std::ofstream(path(str("m", i, "/results.json"))) << json.dump();
    runs.push_back(path(str("m", i)));
  }
  (void)report(runs);
  const std::string dom = open(R"(
    const all = query => [...document.querySelectorAll(query)];
    all('input[value="top1"]')[0].click();
    document.documentElement.dataset.seen = [
      all("#fig-newest .legend .traces").length,
      all("#fig-scatter .legendtext").map(n => n.textContent).join("/"),
      all("#fig-scatter .scatterlayer .point").length,
      document.querySelector("#fits tbody tr").textContent.includes("supervised runs"),
      document.documentElement.scrollWidth - document.documentElement.clientWidth].join(";");
  )");
  EXPECT_EQ(dom.find("data-error"), std::string::npos) << log();
  EXPECT_NE(dom.find("data-seen=\"2;supervised runs/contrastive runs;150;true;0\""),
            std::string::npos)
      << dom.substr(0, 400);
}

TEST_F(Browser, ARunWithoutEvaluationIsDrawn) {
  (void)report({make_run("demo", "--steps 100 --every 200")});
  const std::string dom = open("");
  EXPECT_NE(dom.find("data-ready=\"true\""), std::string::npos) << log();
  EXPECT_EQ(dom.find("data-error"), std::string::npos) << log();
  EXPECT_NE(dom.find("no finished evaluation yet"), std::string::npos);
}

}  // namespace
}  // namespace plumbline
