// csrc/launches/hierarchical.def on a GPU.
#include "cuda/launch.cuh"
#include "tiles/hierarchical.h"
#define GK_KERNELS "launches/hierarchical.def"
#include "launches/define.h"
