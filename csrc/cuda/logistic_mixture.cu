// csrc/launches/logistic_mixture.h on a GPU.
#include "cuda/launch.cuh"
#include "launches/logistic_mixture.h"
