// csrc/launches/gaussian.def on a GPU.
#include "cuda/launch.cuh"
#include "tiles/gaussian.h"
#define GK_KERNELS "launches/gaussian.def"
#include "launches/define.h"
