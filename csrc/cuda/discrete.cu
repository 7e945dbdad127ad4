// csrc/launches/discrete.h on a GPU.
#include "cuda/launch.cuh"
#include "launches/discrete.h"
