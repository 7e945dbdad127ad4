// csrc/launches/discrete.def on a GPU.
#include "cuda/launch.cuh"
#include "tiles/discrete.h"
#define GK_KERNELS "launches/discrete.def"
#include "launches/define.h"
