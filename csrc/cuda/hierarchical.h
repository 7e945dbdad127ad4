// The residual head's launches on a GPU.
#pragma once

#include "kernels.h"

namespace genkern::cuda {

Status gaussian_residual_forward(const GaussianResidualForward& a, const Launch& launch);
Status gaussian_residual_backward(const GaussianResidualBackward& a, const Launch& launch);

}  // namespace genkern::cuda
