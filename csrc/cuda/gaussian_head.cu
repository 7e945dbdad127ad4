// csrc/launches/gaussian_head.def on a GPU.
#include "cuda/launch.cuh"
#include "tiles/gaussian_head.h"
#define GK_KERNELS "launches/gaussian_head.def"
#include "launches/define.h"
