// csrc/launches/hierarchical.h on a GPU.
#include "cuda/launch.cuh"
#include "launches/hierarchical.h"
