#include "fixture.h"

#include <cstdlib>
#include <fstream>

#include "core/file.h"

namespace plumbline {
namespace {
namespace fs = std::filesystem;
}

ReportTest::ReportTest() {
  std::string name = (fs::temp_directory_path() / "plumbline-report-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  folder_ = name;
}

ReportTest::~ReportTest() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::string ReportTest::make_run(const std::string& name, const std::string& arguments) {
  const std::string command =
      "python3 " PLUMBLINE_SOURCE_DIR "/tests/report/make_run.py '" + path(name) + "' " + arguments;
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  return path(name);
}

std::string ReportTest::write(const std::string& name, const std::string& text) {
  fs::create_directories(fs::path(path(name)).parent_path());
  std::ofstream(path(name), std::ios::binary) << text;
  return path(name);
}

ReportSummary ReportTest::report(const std::vector<std::string>& paths, const std::string& models,
                                 const std::string& baseline) {
  return write_report({paths, models, baseline, path("report")}, read_pictures);
}

std::string ReportTest::page() const { return read_file(path("report/index.html")); }

Json ReportTest::page_data() const {
  const std::string html = page(), open = "<script type=\"application/json\" id=\"data\">";
  const std::size_t from = html.find(open) + open.size();
  return Json::parse(html.substr(from, html.find("</script>", from) - from));
}

Json ReportTest::fits() const { return Json::parse(read_file(path("report/fits.json"))); }

std::vector<std::string> read_pictures(const PictureSource& source,
                                       const std::vector<std::string>& keys) {
  std::vector<std::string> pictures;
  for (const std::string& key : keys) {
    const std::string path = source.path + "/" + key;
    pictures.push_back(fs::exists(path) ? read_file(path) : "");
  }
  return pictures;
}

}  // namespace plumbline
