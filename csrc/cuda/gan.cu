// csrc/launches/gan.def on a GPU.
#include "cuda/launch.cuh"
#include "tiles/gan.h"
#define GK_KERNELS "launches/gan.def"
#include "launches/define.h"
