// The Gaussian family's launches on a GPU.
#pragma once

#include <cuda_runtime.h>

#include "kernels.h"

namespace genkern::cuda {

// parts: one double a block (rows, at most 4096); ticket: a zero. Both on the device, used by a total reduction.
cudaError_t gaussian_head_forward(const GaussianHeadForward& a, double* parts, unsigned* ticket, cudaStream_t stream);

}  // namespace genkern::cuda
