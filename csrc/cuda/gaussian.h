// The Gaussian family's launches on a GPU.
#pragma once

#include "kernels.h"

namespace genkern::cuda {

Status gaussian_head_forward(const GaussianHeadForward& a, const Launch& launch);
Status gaussian_head_backward(const GaussianHeadBackward& a, const Launch& launch);
Status gaussian_nll_forward(const LocScaleNllForward& a, const Launch& launch);
Status gaussian_nll_backward(const LocScaleNllBackward& a, const Launch& launch);
Status laplace_nll_forward(const LocScaleNllForward& a, const Launch& launch);
Status laplace_nll_backward(const LocScaleNllBackward& a, const Launch& launch);
Status gaussian_entropy_forward(const GaussianEntropyForward& a, const Launch& launch);
Status gaussian_entropy_backward(const GaussianEntropyBackward& a, const Launch& launch);

}  // namespace genkern::cuda
