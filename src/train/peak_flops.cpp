#include "train/peak_flops.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>
#include <vector>

namespace plumbline {
namespace {

struct Peak {
  std::string_view part;  ///< of the model's name
  double tflops;
};

/// Dense, without sparsity. The first that occurs in the name holds, so the special stands first.
constexpr std::array kPeaks = {
    Peak{"H100 PCIe", 756}, Peak{"H100 NVL", 835}, Peak{"H200 NVL", 835}, Peak{"GH200", 989},
    Peak{"H100", 989},      Peak{"H200", 989},     Peak{"B200", 2250},    Peak{"A100", 312},
    Peak{"A800", 312},      Peak{"H800", 989},     Peak{"L40S", 362},     Peak{"A40", 149.7},
    Peak{"A10", 125},
};

}  // namespace

double bf16_peak_flops(const std::string& gpu_model) {
  for (const Peak& peak : kPeaks) {
    if (gpu_model.find(peak.part) != std::string::npos) return peak.tflops * 1e12;
  }
  return 0;
}

std::string host_gpu_model(const std::string& driver_folder) {
  std::vector<std::string> gpus;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(driver_folder, failed)) {
    gpus.push_back(entry.path().string());
  }
  if (gpus.empty()) return "";
  std::ifstream file(*std::min_element(gpus.begin(), gpus.end()) + "/information");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("Model:")) continue;
    const std::size_t begin = line.find_first_not_of(" \t", 6);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

}  // namespace plumbline
