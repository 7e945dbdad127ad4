// csrc/launches/counts.def on a GPU.
#include "cuda/launch.cuh"
#include "tiles/counts.h"
#define GK_KERNELS "launches/counts.def"
#include "launches/define.h"
