// csrc/launches/gan.h on a GPU.
#include "cuda/launch.cuh"
#include "launches/gan.h"
