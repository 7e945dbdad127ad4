// The kernels of the best instruction set that this machine has, or of the one asked for.
#pragma once

#include <vector>

#include "kernels.h"

namespace genkern {

const Kernels& cpu_kernels();
const std::vector<const Kernels*>& cpu_kernels_available();
bool choose_cpu_kernels(const char* isa);      // false: not available
void add_cpu_kernels(const Kernels& kernels);  // for choose_cpu_kernels, by its name; not chosen by itself

}  // namespace genkern
