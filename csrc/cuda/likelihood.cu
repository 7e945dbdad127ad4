// csrc/launches/likelihood.def on a GPU.
#include "cuda/launch.cuh"
#include "tiles/likelihood.h"
#define GK_KERNELS "launches/likelihood.def"
#include "launches/define.h"
