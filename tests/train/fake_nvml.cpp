// A management library with one GPU at 0000:3b:00.0 that has used 1234.5 J, with NVIDIA's names.
#include <cstring>

extern "C" {
int nvmlInit_v2() { return 0; }
int nvmlShutdown() { return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus, void** gpu) {
  static int device = 0;
  *gpu = &device;
  return std::strcmp(bus, "0000:3b:00.0") == 0 ? 0 : 6;  // NVML_ERROR_NOT_FOUND
}
int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* millijoules) {
  *millijoules = 1234500;
  return 0;
}
}
