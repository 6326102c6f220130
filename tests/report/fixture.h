// Run folders of make_run.py, and a folder that goes with the test.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "plumbline/report.h"

namespace plumbline {

using Json = nlohmann::ordered_json;

/// A fresh folder under the system's temporary one, removed at the end.
class ReportTest : public ::testing::Test {
 protected:
  ReportTest();
  ~ReportTest() override;
  ReportTest(const ReportTest&) = delete;
  ReportTest& operator=(const ReportTest&) = delete;

  /// Writes FOLDER/NAME with make_run.py; `arguments` as on its command line.
  [[nodiscard]] std::string make_run(const std::string& name, const std::string& arguments = "");
  std::string write(const std::string& name, const std::string& text);
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }

  /// write_report into FOLDER/report, pictures from the run's folder.
  ReportSummary report(const std::vector<std::string>& paths, const std::string& models = "",
                       const std::string& baseline = "");
  [[nodiscard]] std::string page() const;
  [[nodiscard]] Json page_data() const;
  [[nodiscard]] Json fits() const;

 private:
  std::string folder_;
};

/// The bytes that PictureSource.path/KEY holds; empty when there is no such file.
[[nodiscard]] std::vector<std::string> read_pictures(const PictureSource& source,
                                                     const std::vector<std::string>& keys);

}  // namespace plumbline
