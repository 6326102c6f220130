// What a GPU has consumed, where its driver tells.
#pragma once

#include <optional>
#include <string>

namespace plumbline {

/// The energy counter of one GPU, by NVIDIA's management library, which is looked for at run time:
/// without a driver, and for GPUs before Volta, there is simply no figure.
class EnergyMeter {
 public:
  /// `pci_bus_id` as CUDA prints it: "0000:3b:00.0". Empty: the GPU that CUDA calls `device`.
  explicit EnergyMeter(int device, const std::string& pci_bus_id = "",
                       const std::string& library = "libnvidia-ml.so.1");
  ~EnergyMeter();
  EnergyMeter(const EnergyMeter&) = delete;
  EnergyMeter& operator=(const EnergyMeter&) = delete;

  /// Joules since the driver was loaded.
  [[nodiscard]] std::optional<double> joules() const;

 private:
  void* library_ = nullptr;
  void* gpu_ = nullptr;
};

}  // namespace plumbline
