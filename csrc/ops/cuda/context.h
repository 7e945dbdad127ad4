// What a launch on a GPU takes from torch and from the CUDA runtime.
#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/Device.h>

#include <optional>

#include "kernels.h"

namespace genkern::cuda {

void* current_stream(c10::DeviceIndex device);

// A counter in device memory that is 0, and is 0 again when the launch that uses it is over. Launches that may run at
// the same time have different ones.
unsigned* ticket(c10::DeviceIndex device, void* stream);

// A slot of a CUDA generator, raw; in a captured graph it lies in memory and is another one at each replay.
KeySource generator_slot(const std::optional<at::Generator>& generator, c10::DeviceIndex device);

}  // namespace genkern::cuda
