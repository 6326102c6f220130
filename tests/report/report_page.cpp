// Writes a report without the rest of the program: report_page OUT MODELS BASELINE PATH... ("" for
// no table). Pictures come from PATH-independent folders: none. For looking at the page.
#include <cstdio>
#include <exception>

#include "plumbline/report.h"

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  try {
    const plumbline::ReportOptions options{{argv + 4, argv + argc}, argv[2], argv[3], argv[1]};
    const auto summary = plumbline::write_report(
        options, [](const plumbline::PictureSource& source, const std::vector<std::string>& keys) {
          std::vector<std::string> bytes;
          for (const std::string& key : keys) {
            std::string found;
            if (std::FILE* file = std::fopen((source.path + "/" + key).c_str(), "rb")) {
              char block[4096];
              for (std::size_t n; (n = std::fread(block, 1, sizeof block, file)) > 0;) {
                found.append(block, n);
              }
              std::fclose(file);
            }
            bytes.push_back(found);
          }
          return bytes;
        });
    std::fputs(summary.table.c_str(), stdout);
    for (const std::string& note : summary.notes) std::printf("note: %s\n", note.c_str());
    std::printf("report: %s\n", summary.index_html.c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
  return 0;
}
