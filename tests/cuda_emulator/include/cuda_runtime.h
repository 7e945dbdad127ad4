// Stands in for CUDA's header of this name: the subset that the project's kernels use, with a meaning on the CPU
// (README.md). Neither __CUDACC__ nor __CUDA_ARCH__ is defined, so csrc/math takes its host side.
#pragma once

#include "emulator/device.h"

#include "emulator/atomics.h"
#include "emulator/math.h"
#include "emulator/runtime_api.h"
#include "emulator/warp.h"
