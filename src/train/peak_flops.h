// What a GPU could do at most, for the share of it that a run reaches.
#pragma once

#include <string>

namespace plumbline {

/// Dense bf16 tensor-core peak in FLOP/s by datasheet of a GPU model as its driver names it
/// ("NVIDIA H100 80GB HBM3"); 0 when the model is not in the table.
[[nodiscard]] double bf16_peak_flops(const std::string& gpu_model);

/// The model of this host's first GPU, from the driver's files; empty without one.
[[nodiscard]] std::string host_gpu_model(
    const std::string& driver_folder = "/proc/driver/nvidia/gpus");

}  // namespace plumbline
