// csrc/launches/logistic_mixture.def on a GPU.
#include "cuda/launch.cuh"
#include "tiles/logistic_mixture.h"
#define GK_KERNELS "launches/logistic_mixture.def"
#include "launches/define.h"
