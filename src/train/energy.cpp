// Names and numbers of nvml.h, whose library every driver installs; its header comes with the CUDA
// toolkit only.
#include "train/energy.h"

#include <dlfcn.h>

#include <array>

namespace plumbline {
namespace {

constexpr int kSuccess = 0;

template <typename Function>
Function find(void* library, const char* name) {
  return reinterpret_cast<Function>(::dlsym(library, name));
}

/// CUDA's runtime is in the process when a GPU is used; its numbering leaves out hidden devices.
std::string bus_id_of(int device) {
  const auto get = find<int (*)(char*, int, int)>(RTLD_DEFAULT, "cudaDeviceGetPCIBusId");
  std::array<char, 32> text{};
  if (get == nullptr || get(text.data(), static_cast<int>(text.size()), device) != 0) return "";
  return text.data();
}

}  // namespace

EnergyMeter::EnergyMeter(int device, const std::string& pci_bus_id, const std::string& library) {
  const std::string bus = pci_bus_id.empty() ? bus_id_of(device) : pci_bus_id;
  if (bus.empty()) return;
  library_ = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) return;
  const auto start = find<int (*)()>(library_, "nvmlInit_v2");
  const auto by_bus =
      find<int (*)(const char*, void**)>(library_, "nvmlDeviceGetHandleByPciBusId_v2");
  if (start == nullptr || by_bus == nullptr || start() != kSuccess) return;
  if (by_bus(bus.c_str(), &gpu_) != kSuccess) gpu_ = nullptr;
}

EnergyMeter::~EnergyMeter() {
  if (library_ == nullptr) return;
  if (const auto stop = find<int (*)()>(library_, "nvmlShutdown")) (void)stop();
  ::dlclose(library_);
}

std::optional<double> EnergyMeter::joules() const {
  if (gpu_ == nullptr) return std::nullopt;
  const auto get =
      find<int (*)(void*, unsigned long long*)>(library_, "nvmlDeviceGetTotalEnergyConsumption");
  unsigned long long millijoules = 0;
  if (get == nullptr || get(gpu_, &millijoules) != kSuccess) return std::nullopt;
  return static_cast<double>(millijoules) / 1000;
}

}  // namespace plumbline
