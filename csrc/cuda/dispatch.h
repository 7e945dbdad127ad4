// The kernels of a GPU.
#pragma once

#include "kernels.h"

namespace genkern {

const Kernels& cuda_kernels();

}  // namespace genkern
