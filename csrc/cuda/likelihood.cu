// csrc/launches/likelihood.h on a GPU.
#include "cuda/launch.cuh"
#include "launches/likelihood.h"
