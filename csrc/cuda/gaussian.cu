// csrc/launches/gaussian.h on a GPU.
#include "cuda/launch.cuh"
#include "launches/gaussian.h"
