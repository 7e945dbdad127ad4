// csrc/launches/gaussian_head.h on a GPU.
#include "cuda/launch.cuh"
#include "launches/gaussian_head.h"
