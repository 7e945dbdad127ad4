// Densities of mixtures on a GPU, for the table in dispatch.cpp.
#pragma once

#include "kernels.h"

namespace genkern::cuda {

int64_t gaussian_mixture_forward_workspace(const GaussianMixtureForward& a);
int64_t gaussian_mixture_backward_workspace(const GaussianMixtureBackward& a);
Status gaussian_mixture_forward(const GaussianMixtureForward& a, const Launch& launch);
Status gaussian_mixture_backward(const GaussianMixtureBackward& a, const Launch& launch);

}  // namespace genkern::cuda
